import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Counter } from 'prom-client';
import { EntityManager, QueryFailedError } from 'typeorm';
import { CLOSE_SQL, closeParameters } from './close-statement';
import { Metrics } from '../platform/observability/metrics';
import { GroupCommit } from './group-commit';
import { Partitions } from './partitions';
import type { UsageLog } from './usage-log.entity';

/** Writes the ledger, and with each batch of lines what is summed up of them. Whoever appends waits for the commit. */
@Injectable()
export class Ledger implements OnApplicationShutdown {
  private readonly closing = new GroupCommit<UsageLog>((lines) => this.close(lines), isDataError);

  private readonly tokens: Counter;
  private readonly costUsd: Counter;
  private readonly batches: Counter;
  private readonly batchSeconds: Counter;

  constructor(
    private readonly db: EntityManager,
    private readonly partitions: Partitions,
    metrics: Metrics,
  ) {
    this.tokens = metrics.counter('usage_tokens_total', 'Tokens metered by this process.');
    this.costUsd = metrics.counter('usage_cost_total', 'US dollars metered by this process.');
    this.batches = metrics.counter('usage_batches_total', 'Batches of ledger lines that were committed.');
    this.batchSeconds = metrics.counter('usage_batch_seconds_total', 'Time their commits took together.');
    metrics.gauge('usage_queue_lines', 'Ledger lines that wait for their batch.', () => this.closing.waiting);
  }

  /**
   * Resolves once the line is committed.
   * @throws ApiError `metering_busy` when the queue is full; nothing is written then.
   */
  append(line: UsageLog): Promise<void> {
    return this.closing.add(line);
  }

  /** Everything appended is written before the connections close. */
  async onApplicationShutdown(): Promise<void> {
    await this.closing.drained();
  }

  private async close(lines: readonly UsageLog[]): Promise<[]> {
    const columns = closeParameters(lines);
    const startedMs = performance.now();
    try {
      await this.db.query(CLOSE_SQL, columns);
    } catch (error) {
      if (isPartitionMissing(error)) await this.partitions.make(lines.map(({ createdAt }) => createdAt));
      else if (isDataError(error)) throw error;
      // A broken connection leaves open whether the batch was committed; ids and times are fixed, so this is safe.
      await this.db.query(CLOSE_SQL, columns);
    }
    this.note(lines, (performance.now() - startedMs) / 1_000);
    return [];
  }

  private note(lines: readonly UsageLog[], seconds: number): void {
    this.batches.inc();
    this.batchSeconds.inc(seconds);
    for (const { tokensUsed, costUsd } of lines) {
      this.tokens.inc(tokensUsed);
      this.costUsd.inc(Number(costUsd));
    }
  }
}

/** PostgreSQL classes 22 (data exception) and 23 (constraint violation): the statement, not the server, is at fault. */
function isDataError(error: unknown): boolean {
  return /^2[23]/.test(driverError(error).code ?? '');
}

/** A violated check without a name: no part of the table takes a line of this month. */
function isPartitionMissing(error: unknown): boolean {
  const { code, constraint } = driverError(error);
  return code === '23514' && constraint === undefined;
}

function driverError(error: unknown): { code?: string; constraint?: string } {
  return error instanceof QueryFailedError
    ? (error.driverError as { code?: string; constraint?: string })
    : {};
}
