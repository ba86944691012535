import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Counter } from 'prom-client';
import { EntityManager, In } from 'typeorm';
import { ApiError } from '../common/api-error';
import { queryPrepared } from '../platform/database/prepared-statements';
import { isLate } from '../platform/database/statement-limits';
import { Metrics } from '../platform/observability/metrics';
import { Traces } from '../platform/observability/traces';
import { Alerts } from './alerts';
import type { Capped } from './caps';
import {
  type Attempt,
  type CapMonth,
  closeStatement,
  type Closing,
  type Draw,
  type Held,
  type ReportedEvent,
} from './close-statement';
import { GroupCommit } from './group-commit';
import { Partitions } from './partitions';
import { UsageEvent } from './usage-event.entity';
import type { UsageLog } from './usage-log.entity';
import { UsageErrors } from './usage.errors';
import { isDataError, isPartitionMissing, isThereAlready } from './write-errors';

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
  /** Whom to tell when much of a cap is used. */
  readonly capped: Capped | null;
}

/** What a call had set aside, and who is told when much of his cap is used. */
export type HeldFor = Pick<Closing, 'hold' | 'draw' | 'capped'>;

const NOTHING_HELD: HeldFor = { hold: null, draw: null, capped: null };

/** How a call ends with whose line something else is written. */
interface ClosingWith extends Closing {
  readonly together: (tx: EntityManager) => Promise<void>;
}

/** Writes the ledger, and with each batch of lines what is summed up of them. Whoever appends waits for the commit. */
@Injectable()
export class Ledger implements OnApplicationShutdown {
  private readonly closing = new GroupCommit<Closing>(
    (closings) => this.close(closings),
    isItemsFault,
    UsageErrors.ledgerBusy,
    true,
  );
  private readonly closingWith = new GroupCommit<ClosingWith>(
    (closings) => this.closeWith(closings),
    isItemsFault,
    UsageErrors.ledgerBusy,
  );
  private readonly tokens: Counter;
  private readonly costUsd: Counter;
  private readonly batches: Counter;
  private readonly batchSeconds: Counter;

  constructor(
    private readonly db: EntityManager,
    private readonly partitions: Partitions,
    private readonly alerts: Alerts,
    private readonly traces: Traces,
    metrics: Metrics,
  ) {
    this.tokens = metrics.counter('usage_tokens_total', 'Tokens metered by this process.');
    this.costUsd = metrics.counter('usage_cost_total', 'US dollars metered by this process.');
    this.batches = metrics.counter('usage_batches_total', 'Batches of ledger lines that were committed.');
    this.batchSeconds = metrics.counter('usage_batch_seconds_total', 'Time their commits took together.');
    metrics.gauge(
      'usage_queue_lines',
      'Ledger lines that wait for their batch.',
      () => this.closing.waiting + this.closingWith.waiting,
    );
  }

  /**
   * Resolves once the line is committed, and with it what becomes of what the call had set aside.
   * @throws ApiError `metering_busy` when the queue is full; nothing is written then.
   */
  async append(line: UsageLog, held: HeldFor = NOTHING_HELD): Promise<void> {
    await this.closing.add({ line, ...held });
  }

  /**
   * The same with something that is committed together with the line, or neither is. `together` may be asked again, for
   * a commit whose outcome is unknown is tried again.
   * @throws ApiError what `together` refuses with.
   */
  async appendWith(line: UsageLog, held: HeldFor, together: ClosingWith['together']): Promise<void> {
    await this.closingWith.add({ line, ...held, together });
  }

  /**
   * Books reported events, each once for ever, however many report it at the same moment.
   * @returns what became of each, in their order; null: the database does not take it.
   * @throws ApiError `metering_busy` when the queue has no room for all.
   */
  async report(events: readonly EventLine[]): Promise<(EventOutcome | null)[]> {
    const results = await this.closing.addAll(events.map((one) => ({ ...one, hold: null, draw: null })));
    const isBooked = results.map((result) => {
      if (result.status === 'rejected' && !isDataError(result.reason)) throw result.reason;
      return result.status === 'fulfilled';
    });
    // Read after the commit, so it is the truth: whoever came first has committed by now.
    const outcomes = await this.outcomesOf(events);
    for (const [index, { line }] of events.entries())
      if (outcomes[index]?.status === 'created') this.count(line);
    return outcomes.map((outcome, index) => (isBooked[index] ? outcome : null));
  }

  /**
   * Books an event in the place of what was set aside for it; the same again changes nothing.
   * @returns null: nothing is set aside for it any more, and it was not booked before.
   * @throws ApiError `metering_busy`.
   */
  async settle(one: EventLine, hold: Held): Promise<EventOutcome | null> {
    await this.closing.add({ ...one, hold, draw: null });
    const [outcome = null] = await this.outcomesOf([one]);
    if (outcome?.status === 'created') this.count(one.line);
    return outcome;
  }

  /** What an event was booked as before, if it was. */
  async find(event: ReportedEvent): Promise<EventOutcome | null> {
    const [outcome = null] = await this.outcomesOf([{ event, line: null }]);
    return outcome;
  }

  /** Lets go of the hold of a call that failed; doing it twice changes nothing. */
  async release(hold: Held): Promise<void> {
    await this.closing.add({ line: null, ...NOTHING_HELD, hold });
  }

  /**
   * Lets go of a part of a hold, which no line will draw on it any more. It is not tried again: what may have been let go
   * of stays held with the rest.
   */
  async releasePart(part: Draw): Promise<void> {
    await this.closing.add({ line: null, ...NOTHING_HELD, draw: part });
  }

  /**
   * Lets go of a hold that nobody came back for.
   * @param line what the call left to be written for this case; nothing is when somebody has come back meanwhile.
   */
  async releaseLost(hold: Held, line: UsageLog | null): Promise<void> {
    await this.closing.add({ line, ...NOTHING_HELD, hold, isLost: true });
  }

  /** Everything appended is written before the connections close. */
  async onApplicationShutdown(): Promise<void> {
    await this.closing.drained();
    await this.closingWith.drained();
  }

  private async close(
    closings: readonly Closing[],
    write = (attempt: Attempt) => queryPrepared<CapMonth>(this.db, ...closeStatement(closings, attempt)),
  ): Promise<[]> {
    const startedMs = performance.now();
    const months = await this.traces.span(
      'usage commit',
      () => ({ lines: closings.length, request_ids: closings.flatMap(({ line }) => line?.id ?? []) }),
      () => this.send(closings, write),
      'own trace',
    );
    this.batches.inc();
    this.batchSeconds.inc((performance.now() - startedMs) / 1_000);
    for (const { line, event, isLost } of closings) if (line && !event && !isLost) this.count(line);
    this.alerts.look(months, closings);
    return [];
  }

  private closeWith(closings: readonly ClosingWith[]): Promise<[]> {
    return this.close(closings, (attempt) =>
      this.db.transaction(async (tx) => {
        for (const { together } of closings) await together(tx);
        return tx.query<CapMonth[]>(...closeStatement(closings, attempt));
      }),
    );
  }

  private async outcomesOf(
    lines: readonly { readonly line: UsageLog | null; readonly event: ReportedEvent }[],
  ): Promise<(EventOutcome | null)[]> {
    if (lines.length === 0) return [];
    const rows = await this.db.findBy(UsageEvent, {
      userId: In([...new Set(lines.map(({ event }) => event.reporterId))]),
      identity: In(lines.map(({ event }) => event.identity)),
    });
    const found = new Map(rows.map((row) => [nameOf(row.userId, row.identity), row]));
    return lines.map(({ line, event }) => {
      const first = found.get(nameOf(event.reporterId, event.identity));
      if (!first) return null;
      const isSame = first.fingerprint.equals(event.fingerprint);
      const status = first.lineId === line?.id ? 'created' : isSame ? 'duplicate' : 'conflict';
      return { status, lineId: first.lineId };
    });
  }

  private count({ tokensUsed, costUsd }: UsageLog): void {
    // A counter throws when it is to shrink; the line is committed, so whoever wrote it must not get an error.
    this.tokens.inc(Math.max(0, tokensUsed));
    this.costUsd.inc(Math.max(0, Number(costUsd)));
  }

  private async send(
    closings: readonly Closing[],
    write: (attempt: Attempt) => Promise<CapMonth[]>,
  ): Promise<CapMonth[]> {
    try {
      return await write('first');
    } catch (error) {
      if (isPartitionMissing(error))
        await this.partitions.make(closings.flatMap(({ line }) => line?.createdAt ?? []));
      else if (!isThereAlready(error) && (isItemsFault(error) || isLate(error))) throw error;
      // A broken connection leaves open whether the batch was committed; ids and times are fixed, so this is safe.
      return write('again');
    }
  }
}

/** Also what is written together with a line may refuse, for itself alone. */
function isItemsFault(error: unknown): boolean {
  return isDataError(error) || error instanceof ApiError;
}

function nameOf(reporterId: string, identity: Buffer): string {
  return `${reporterId} ${identity.toString('hex')}`;
}
