import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Counter } from 'prom-client';
import { EntityManager, In } from 'typeorm';
import { Metrics } from '../platform/observability/metrics';
import { Alerts } from './alerts';
import { type CapMonth, closeStatement, type Closing, type ReportedEvent } from './close-statement';
import { GroupCommit } from './group-commit';
import type { Opening } from './open-statement';
import { Partitions } from './partitions';
import { UsageEvent } from './usage-event.entity';
import type { UsageLog } from './usage-log.entity';
import { isDataError, isPartitionMissing } from './write-errors';

/** What becomes of a reported event: it is booked now, was booked before as it is, or was booked before and said something else. */
export interface EventOutcome {
  readonly status: 'created' | 'duplicate' | 'conflict';
  /** Its line in the ledger, or that of the event that was there first. */
  readonly lineId: string;
}

/** A reported event and the line it is to leave. */
export interface EventLine {
  readonly line: UsageLog;
  readonly event: ReportedEvent;
}

/** Writes the ledger, and with each batch of lines what is summed up of them. Whoever appends waits for the commit. */
@Injectable()
export class Ledger implements OnApplicationShutdown {
  private readonly closing = new GroupCommit<Closing, EventOutcome | undefined>(
    (closings) => this.close(closings),
    isDataError,
  );
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
  async append(line: UsageLog, hold: Opening | null = null): Promise<void> {
    await this.closing.add({ line, hold });
  }

  /**
   * Books reported events, each once for ever, however many report it at the same moment.
   * @returns what became of each, in their order; null: the database does not take it.
   * @throws ApiError `metering_busy` when the queue has no room for all.
   */
  async report(events: readonly EventLine[]): Promise<(EventOutcome | null)[]> {
    const results = await this.closing.addAll(events.map((one) => ({ ...one, hold: null })));
    return results.map((result) => {
      if (result.status === 'fulfilled') return result.value ?? null;
      if (isDataError(result.reason)) return null;
      throw result.reason;
    });
  }

  /** Lets go of the hold of a call that failed; doing it twice changes nothing. */
  async release(hold: Opening): Promise<void> {
    await this.closing.add({ line: null, hold });
  }

  /** Everything appended is written before the connections close. */
  async onApplicationShutdown(): Promise<void> {
    await this.closing.drained();
  }

  private async close(closings: readonly Closing[]): Promise<(EventOutcome | undefined)[]> {
    const startedMs = performance.now();
    const months = await this.send(closings);
    const seconds = (performance.now() - startedMs) / 1_000;
    const outcomes = await this.outcomesOf(closings);
    this.note(closings, outcomes, seconds);
    this.alerts.look(months, closings);
    return outcomes;
  }

  /** Read after the commit, so it is the truth: whoever came first has committed by now. */
  private async outcomesOf(closings: readonly Closing[]): Promise<(EventOutcome | undefined)[]> {
    const events = closings.flatMap(({ event }) => event ?? []);
    if (events.length === 0) return [];
    const rows = await this.db.findBy(UsageEvent, {
      userId: In([...new Set(events.map(({ reporterId }) => reporterId))]),
      identity: In(events.map(({ identity }) => identity)),
    });
    const found = new Map(rows.map((row) => [nameOf(row.userId, row.identity), row]));
    return closings.map(({ line, event }) => {
      const first = event && found.get(nameOf(event.reporterId, event.identity));
      if (!first) return undefined;
      const isSame = first.fingerprint.equals(event.fingerprint);
      const status = first.lineId === line?.id ? 'created' : isSame ? 'duplicate' : 'conflict';
      return { status, lineId: first.lineId };
    });
  }

  private note(
    closings: readonly Closing[],
    outcomes: readonly (EventOutcome | undefined)[],
    seconds: number,
  ): void {
    this.batches.inc();
    this.batchSeconds.inc(seconds);
    for (const [index, { line }] of closings.entries()) {
      if (!line || (outcomes[index]?.status ?? 'created') !== 'created') continue;
      // A counter throws when it is to shrink; the line is committed, so whoever wrote it must not get an error.
      this.tokens.inc(Math.max(0, line.tokensUsed));
      this.costUsd.inc(Math.max(0, Number(line.costUsd)));
    }
  }

  private async send(closings: readonly Closing[]): Promise<CapMonth[]> {
    const [sql, parameters] = closeStatement(closings);
    try {
      return await this.db.query<CapMonth[]>(sql, parameters);
    } catch (error) {
      if (isPartitionMissing(error))
        await this.partitions.make(closings.flatMap(({ line }) => line?.createdAt ?? []));
      else if (isDataError(error)) throw error;
      // A broken connection leaves open whether the batch was committed; ids and times are fixed, so this is safe.
      return this.db.query<CapMonth[]>(sql, parameters);
    }
  }
}

function nameOf(reporterId: string, identity: Buffer): string {
  return `${reporterId} ${identity.toString('hex')}`;
}
