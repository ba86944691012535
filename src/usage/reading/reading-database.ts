import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import pLimit, { type LimitFunction } from 'p-limit';
import { Pool, type QueryResultRow } from 'pg';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { LOG } from '../../common/log-token';
import { ENV, type Env } from '../../config/env';
import type { ApiError } from '../../common/api-error';
import { CommonErrors } from '../../common/common.errors';
import { CONNECT_TIMEOUT_MS } from '../../platform/database/data-source-options';
import { withStatementLimit } from '../../platform/database/statement-limits';
import { HealthService } from '../../platform/health/health.service';
import { Metrics } from '../../platform/observability/metrics';

const CHECK_MS = 5_000;
/** Of a large ledger: statements that look through a month of it. */
const READ_MS_MAX = 10_000;
/** So long one waits for his turn. */
const WAITING_MS_MAX = 5_000;
/** How many may wait for their turn, for each that may read at the same time. */
const WAITING_MAX_PER_PLACE = 20;
/** Whoever hangs on a replica that has frozen gets his answer from the primary after so long. */
const REPLICA_TIMEOUT_MS = 5_000;

/** Whether the replica has all that the primary had at the check before. A server that is no replica has what it has. */
const IS_CURRENT_SQL = `
  SELECT coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END >= $1::pg_lsn,
                  true) AS is_current`;

/**
 * Where usage is read from to be shown: the replica of `DATABASE_REPLICA_URL` while it answers and is ten seconds
 * behind at most, else the primary. What decides about a call (caps, limits, the ledger itself) never reads here.
 */
@Injectable()
export class ReadingDatabase implements OnModuleInit, OnApplicationShutdown {
  private readonly replica: Pool | undefined;
  private readonly timer: NodeJS.Timeout | undefined;
  /** Most connections stay free for calls: who looks through millions of lines waits for others who do. */
  private readonly places: LimitFunction;
  private isUsed = false;
  private checking: Promise<void> | undefined;
  /** Where the log of the primary ended at the last check. */
  private primaryEnd: string | undefined;

  constructor(
    readonly primary: EntityManager,
    @Inject(LOG) private readonly log: Logger,
    private readonly health: HealthService,
    private readonly metrics: Metrics,
    @Inject(ENV) { DATABASE_REPLICA_URL, DATABASE_POOL_MAX }: Env,
  ) {
    this.places = pLimit(Math.max(1, Math.floor(DATABASE_POOL_MAX / 3)));
    if (DATABASE_REPLICA_URL === undefined) return;
    this.replica = new Pool({
      connectionString: DATABASE_REPLICA_URL,
      max: DATABASE_POOL_MAX,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: REPLICA_TIMEOUT_MS,
      keepAlive: true,
    });
    this.replica.on('error', (error) => {
      this.use(false, error);
    });
    this.timer = setInterval(() => {
      this.check();
    }, CHECK_MS).unref();
  }

  /** Waits for nobody: until the replica has answered, the primary is read. */
  onModuleInit(): void {
    if (!this.replica) return;
    this.check();
    this.health.watch('replica', () => (this.isUsed ? 'up' : 'degraded'));
    this.metrics.gauge(
      'database_replica_up',
      '1 while statistics are read from the replica, 0 while from the primary.',
      () => Number(this.isUsed),
    );
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.checking;
    await this.replica?.end();
  }

  /**
   * The rows of a statement that only reads.
   * @throws ApiError `service_unavailable` when too many wait.
   */
  async query<Row extends QueryResultRow>(sql: string, parameters: unknown[]): Promise<Row[]> {
    if (this.replica && this.isUsed) {
      try {
        return (await this.replica.query<Row>(sql, parameters)).rows;
      } catch (error) {
        // Also a read that the replica broke off to keep up with the primary; the next check takes it back.
        this.use(false, error);
      }
    }
    if (this.places.pendingCount >= WAITING_MAX_PER_PLACE * this.places.concurrency) throw busy();
    const askedMs = performance.now();
    return this.places(() => {
      // By then nobody waits for it any more.
      if (performance.now() - askedMs > WAITING_MS_MAX) throw busy();
      return withStatementLimit(READ_MS_MAX, () => this.primary.query<Row[]>(sql, parameters));
    });
  }

  private check(): void {
    this.checking ??= this.compare().finally(() => (this.checking = undefined));
  }

  private async compare(): Promise<void> {
    try {
      const answer = await this.replica?.query<{ is_current: boolean }>(IS_CURRENT_SQL, [this.primaryEnd]);
      this.use(answer?.rows[0]?.is_current === true);
    } catch (error) {
      this.use(false, error);
    }
    // Without the primary nobody is let in, so nothing is read then.
    const [row] = await this.primary
      .query<{ lsn: string }[]>('SELECT pg_current_wal_lsn() AS lsn')
      .catch((): [] => []);
    this.primaryEnd = row?.lsn;
  }

  private use(isUsed: boolean, error?: unknown): void {
    if (isUsed === this.isUsed) return;
    this.isUsed = isUsed;
    if (isUsed) this.log.info('statistics are read from the replica');
    else this.log.warn({ err: error ?? 'it is behind' }, 'statistics are read from the primary');
  }
}

function busy(): ApiError {
  return CommonErrors.unavailable.with({ retryAfterSeconds: 2 });
}
