import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';

const MONTHS_AHEAD = 3;
const INTERVAL_MS = 3_600_000;

/** The ledger's table has a part for each month (UTC): made ahead at the start and every hour, and for late lines when they come. */
@Injectable()
export class Partitions implements OnModuleInit, OnApplicationShutdown {
  private readonly timer = setInterval(() => {
    // What fails here is tried again in an hour, months before it is needed, or when a line needs it.
    this.makeAhead().catch(() => undefined);
  }, INTERVAL_MS).unref();

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.makeAhead();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** Makes the parts that lines of these times need, as far as they are missing. */
  async make(times: readonly Date[]): Promise<void> {
    await this.db.transaction(async (tx) => {
      // Locked by a statement of its own: one that waits within the function would still not see what the other made.
      await tx.query(`SELECT pg_advisory_xact_lock(hashtext('usage_logs_make_partition'))`);
      await tx.query('SELECT usage_logs_make_partition(at) FROM unnest($1::timestamptz[]) AS at', [times]);
    });
  }

  private async makeAhead(): Promise<void> {
    const now = this.clock.now();
    const firstOf = (ahead: number): Date =>
      new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1));
    await this.make(Array.from({ length: MONTHS_AHEAD + 1 }, (_, ahead) => firstOf(ahead)));
  }
}
