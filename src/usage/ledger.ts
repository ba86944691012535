import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Counter } from 'prom-client';
import { EntityManager } from 'typeorm';
import { Metrics } from '../platform/observability/metrics';
import { Alerts } from './alerts';
import { type CapMonth, CLOSE_SQL, closeParameters, type Closing } from './close-statement';
import { GroupCommit } from './group-commit';
import type { Opening } from './open-statement';
import { Partitions } from './partitions';
import type { UsageLog } from './usage-log.entity';
import { isDataError, isPartitionMissing } from './write-errors';

/** Writes the ledger, and with each batch of lines what is summed up of them. Whoever appends waits for the commit. */
@Injectable()
export class Ledger implements OnApplicationShutdown {
  private readonly closing = new GroupCommit<Closing>((closings) => this.close(closings), isDataError);
  private readonly tokens: Counter;
  private readonly costUsd: Counter;
  private readonly batches: Counter;
  private readonly batchSeconds: Counter;

  constructor(
    private readonly db: EntityManager,
    private readonly partitions: Partitions,
    private readonly alerts: Alerts,
    metrics: Metrics,
  ) {
    this.tokens = metrics.counter('usage_tokens_total', 'Tokens metered by this process.');
    this.costUsd = metrics.counter('usage_cost_total', 'US dollars metered by this process.');
    this.batches = metrics.counter('usage_batches_total', 'Batches of ledger lines that were committed.');
    this.batchSeconds = metrics.counter('usage_batch_seconds_total', 'Time their commits took together.');
    metrics.gauge('usage_queue_lines', 'Ledger lines that wait for their batch.', () => this.closing.waiting);
  }

  /**
   * Resolves once the line is committed, and the call's hold is let go of with it.
   * @throws ApiError `metering_busy` when the queue is full; nothing is written then.
   */
  append(line: UsageLog, hold: Opening | null = null): Promise<void> {
    return this.closing.add({ line, hold });
  }

  /** Lets go of the hold of a call that failed; doing it twice changes nothing. */
  release(hold: Opening): Promise<void> {
    return this.closing.add({ line: null, hold });
  }

  /** Everything appended is written before the connections close. */
  async onApplicationShutdown(): Promise<void> {
    await this.closing.drained();
  }

  private async close(closings: readonly Closing[]): Promise<[]> {
    const startedMs = performance.now();
    const months = await this.send(closings);
    this.note(closings, (performance.now() - startedMs) / 1_000);
    this.alerts.look(months, closings);
    return [];
  }

  private note(closings: readonly Closing[], seconds: number): void {
    this.batches.inc();
    this.batchSeconds.inc(seconds);
    for (const { line } of closings) {
      if (!line) continue;
      // A counter throws when it is to shrink; the line is committed, so whoever wrote it must not get an error.
      this.tokens.inc(Math.max(0, line.tokensUsed));
      this.costUsd.inc(Math.max(0, Number(line.costUsd)));
    }
  }

  private async send(closings: readonly Closing[]): Promise<CapMonth[]> {
    const columns = closeParameters(closings);
    try {
      return await this.db.query<CapMonth[]>(CLOSE_SQL, columns);
    } catch (error) {
      if (isPartitionMissing(error))
        await this.partitions.make(closings.flatMap(({ line }) => line?.createdAt ?? []));
      else if (isDataError(error)) throw error;
      // A broken connection leaves open whether the batch was committed; ids and times are fixed, so this is safe.
      return this.db.query<CapMonth[]>(CLOSE_SQL, columns);
    }
  }
}
