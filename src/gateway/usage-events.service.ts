import { Inject, Injectable } from '@nestjs/common';
import { ApiError, type FieldError } from '../common/api-error';
import { Clock } from '../common/clock';
import { InputPipe } from '../common/input.pipe';
import { ENV, type Env } from '../config/env';
import { type EventLine, type EventOutcome, Ledger } from '../usage/ledger';
import { PriceBook } from '../usage/price-book';
import { bookedAt } from './booked-at';
import { cappedOf, type Customer, Customers, namingFault } from './customers';
import { fingerprintOf, fromCloudEvent, identityOf } from './event-reader';
import { COST_NANO_USD_END, servedLine, tokensFault } from './served-line';
import { type EventResultDto, UsageEventDto } from './usage-events.dto';

type Checked = { readonly line: EventLine } | { readonly errors: readonly FieldError[] };

/** Books what other services have served: each event once, and each told by itself what became of it. */
@Injectable()
export class UsageEventsService {
  private readonly input = new InputPipe();

  constructor(
    private readonly clock: Clock,
    private readonly customers: Customers,
    private readonly prices: PriceBook,
    private readonly ledger: Ledger,
    @Inject(ENV) private readonly env: Env,
  ) {}

  /**
   * Resolves once every event that can be booked is committed. Caps refuse none: what was done was done.
   * @throws ApiError `metering_busy`; sent again, what was booked is a duplicate.
   */
  async report(reporterId: string, events: readonly unknown[]): Promise<EventResultDto[]> {
    const checked = await Promise.all(events.map((event) => this.check(reporterId, event)));
    const lines = checked.flatMap((one) => ('line' in one ? one.line : []));
    const outcomes = (await this.ledger.report(lines)).values();
    return checked.map((one, index) => {
      const id = idOf(events[index]);
      return 'line' in one ? toResult(id, outcomes.next().value ?? null) : refused(id, one.errors);
    });
  }

  private async check(reporterId: string, sent: unknown): Promise<Checked> {
    try {
      const about = { type: 'body', metatype: UsageEventDto } as const;
      const event = (await this.input.transform(fromCloudEvent(sent), about)) as UsageEventDto;
      const customer = await this.customers.find(event);
      const now = this.clock.now();
      const at = bookedAt(
        event.time === undefined ? now : new Date(event.time),
        now,
        this.env.REPORT_AGE_DAYS_MAX,
      );
      const error = faultOf(event, customer, at);
      if (error || !customer || !at) return { errors: error ? [error] : [] };
      return this.toLine(reporterId, event, customer, at);
    } catch (error) {
      if (error instanceof ApiError && error.errors) return { errors: error.errors };
      throw error;
    }
  }

  private toLine(reporterId: string, event: UsageEventDto, customer: Customer, createdAt: Date): Checked {
    const { provider = null, model = null, operation, id, source } = event;
    const { line, cost } = servedLine(
      { customer, operation, provider, model, took: event, event: { source, id }, createdAt },
      this.prices,
    );
    if (cost >= COST_NANO_USD_END)
      return { errors: [{ field: '', message: 'costs more than can be booked' }] };
    const identity = identityOf(event);
    const fingerprint = fingerprintOf(event);
    return { line: { line, event: { reporterId, identity, fingerprint }, capped: cappedOf(customer) } };
  }
}

/** What is wrong with an event besides its fields one by one. */
function faultOf(
  event: UsageEventDto,
  customer: Customer | undefined,
  at: Date | null,
): FieldError | undefined {
  if (!customer) return namingFault(event);
  if (!at) return { field: 'time', message: 'is too long ago, or in the future' };
  return tokensFault(event);
}

function toResult(id: string | null, outcome: EventOutcome | null): EventResultDto {
  if (!outcome) return refused(id, [{ field: '', message: 'cannot be booked' }]);
  return { id, status: outcome.status, line_id: outcome.lineId, errors: [] };
}

function refused(id: string | null, errors: readonly FieldError[]): EventResultDto {
  return { id, status: 'invalid', line_id: null, errors: [...errors] };
}

/** As far as an event has one that can be shown. */
function idOf(event: unknown): string | null {
  const { id } = (event ?? {}) as { id?: unknown };
  return typeof id === 'string' ? id.slice(0, 255) : null;
}
