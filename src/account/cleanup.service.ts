import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';

const INTERVAL_MS = 3_600_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const BATCH = 1_000;

/** What is over, and how long after its moment it goes. Nothing here opens anything, or counts, any more. */
const rules = [
  {
    keptMs: DAY_MS,
    sql: 'DELETE FROM one_time_tokens WHERE ctid = ANY(ARRAY(SELECT ctid FROM one_time_tokens WHERE expires_at < $1 LIMIT $2))',
  },
  {
    keptMs: 30 * DAY_MS,
    sql: 'DELETE FROM sessions WHERE ctid = ANY(ARRAY(SELECT ctid FROM sessions WHERE last_used_at < $1 LIMIT $2))',
  },
  {
    keptMs: HOUR_MS,
    sql: 'DELETE FROM attempt_counts WHERE ctid = ANY(ARRAY(SELECT ctid FROM attempt_counts WHERE last_taken_at < $1 LIMIT $2))',
  },
  {
    keptMs: HOUR_MS,
    sql: 'DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(SELECT ctid FROM idempotency_keys WHERE expires_at < $1 LIMIT $2))',
  },
];

/** Deletes what is over, every hour, in small transactions; of several processes one does it at a time. */
@Injectable()
export class CleanupService implements OnApplicationBootstrap, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private isEnding = false;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.timer = setInterval(() => {
      this.running ??= this.run()
        .catch((error: unknown) => {
          this.log.error({ err: error }, 'cleanup failed');
        })
        .finally(() => (this.running = undefined));
    }, INTERVAL_MS).unref();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    this.isEnding = true;
    await this.running;
  }

  /** Deletes everything that is over now, unless another process is at it. */
  async run(): Promise<void> {
    for (const { sql, keptMs } of rules) {
      const before = new Date(this.clock.nowMs() - keptMs);
      let deleted: number;
      do deleted = await this.deleteBatch(sql, before);
      while (deleted === BATCH && !this.isEnding);
    }
  }

  private async deleteBatch(sql: string, before: Date): Promise<number> {
    return this.db.transaction(async (tx) => {
      const [lock] = await tx.query<{ taken: boolean }[]>(
        `SELECT pg_try_advisory_xact_lock(hashtext('cortex-auth:cleanup')) AS taken`,
      );
      if (!lock?.taken) return 0;
      const [, deleted] = await tx.query<[unknown[], number]>(sql, [before, BATCH]);
      return deleted;
    });
  }
}
