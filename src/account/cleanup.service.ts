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
  { table: 'one_time_tokens', moment: 'expires_at', keptMs: DAY_MS },
  { table: 'sessions', moment: 'last_used_at', keptMs: 30 * DAY_MS },
  { table: 'attempt_counts', moment: 'last_taken_at', keptMs: HOUR_MS },
  { table: 'idempotency_keys', moment: 'expires_at', keptMs: HOUR_MS },
] as const;

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
    for (const { table, moment, keptMs } of rules) {
      const before = new Date(this.clock.nowMs() - keptMs);
      let deleted: number;
      do deleted = await this.deleteBatch(table, moment, before);
      while (deleted === BATCH && !this.isEnding);
    }
  }

  private async deleteBatch(table: string, moment: string, before: Date): Promise<number> {
    return this.db.transaction(async (tx) => {
      const [lock] = await tx.query<{ taken: boolean }[]>(
        `SELECT pg_try_advisory_xact_lock(hashtext('cortex-auth:cleanup')) AS taken`,
      );
      if (!lock?.taken) return 0;
      const rows = await tx.query<[unknown[], number]>(
        `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${table} WHERE ${moment} < $1 LIMIT ${BATCH}))`,
        [before],
      );
      return rows[1];
    });
  }
}
