import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { ENV, type Env } from '../config/env';
import { backoffMs } from './backoff';
import { BillingAlarms } from './billing-alarms';
import { BillingTasks } from './billing-tasks';
import { PolarClient, type UsageCharge } from './polar-client';
import { PolarFailure, toPolarFailure } from './polar-failure';
import { type ClaimedUsage, Outbox } from './usage-outbox';

/** A request; a hundred thousand customers a minute are two hundred of them, of the five hundred that Polar allows. */
const BATCH_MAX = 500;
const TICK_MS = 1_000;
/** So much sooner than a period ends its usage is taken: what comes late is charged with the next one. */
const BEFORE_PERIOD_END_MS = 10_000;
/** Polar refuses moments that are still to come by its clock, and the whole batch with them. */
const CLOCK_MARGIN_MS = 30_000;
const CLOCK_MARGIN_MAX_MS = 86_400_000;
const UNAUTHORIZED_GAP_MS = 60_000;

/** How Polar knows a meter: the events that it counts, and the property that it sums. */
export const meters: Readonly<Record<string, { readonly eventName: string; readonly property: string }>> = {
  tokens: { eventName: 'usage.tokens', property: 'total_tokens' },
};

/**
 * Tells Polar what was used, every `POLAR_FLUSH_SECONDS`: an amount per customer and meter, each under an id of its own.
 * Whatever times out, dies or is repeated, Polar counts each id once, and no row leaves the outbox before Polar said so.
 */
@Injectable()
export class UsageReporter implements OnModuleInit {
  /** The events that Polar has a meter for. */
  private readonly counted = new Set<string>();

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly outbox: Outbox,
    private readonly tasks: BillingTasks,
    private readonly alarms: BillingAlarms,
    private readonly polar: PolarClient,
    @Inject(ENV) private readonly env: Env,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onModuleInit(): void {
    this.tasks.define(
      'usage-take',
      () => this.take(),
      () => this.nextTake(),
    );
    this.tasks.define(
      'usage-send',
      () => this.send(),
      () => this.nextSend(),
    );
  }

  /** Moves what was used since the last time to the outbox; while Polar takes or counts nothing it gathers where it is. */
  async take(): Promise<void> {
    if ((await this.hasMeters()) && !(await this.outbox.isStuck())) await this.outbox.take();
    await this.tasks.hurry('usage-send');
  }

  /** Sends what is due, until nothing is or Polar wants a pause. */
  async send(): Promise<void> {
    for (;;) {
      const rows = await this.outbox.claim(BATCH_MAX);
      if (rows.length === 0 || !(await this.deliver(rows))) return;
    }
  }

  /** Polar gives an event to the meters that it has when it comes: what comes before its meter is never charged. */
  private async hasMeters(): Promise<boolean> {
    for (const { eventName } of Object.values(meters)) {
      if (this.counted.has(eventName)) continue;
      const problem = await this.polar.findMeter(eventName).then(
        (id) => (id === null ? `Polar has no meter "${eventName}"; npm run polar:setup makes it.` : null),
        (error: unknown) => `Polar does not show its meters: ${toPolarFailure(error).message}`,
      );
      this.alarms.set('meter_missing', problem);
      if (problem !== null) return false;
      this.counted.add(eventName);
    }
    return true;
  }

  /** @returns whether to go on with others. */
  private async deliver(rows: readonly ClaimedUsage[]): Promise<boolean> {
    try {
      const { inserted, duplicates } = await this.polar.create_usage_charge(
        rows.map((row) => this.chargeOf(row)),
      );
      if (inserted + duplicates !== rows.length)
        throw new PolarFailure('unknown', `${rows.length} events sent, ${inserted + duplicates} taken`);
      await this.outbox.markSent(rows);
      this.alarms.clear('usage_refused');
      return true;
    } catch (error) {
      return this.handle(rows, toPolarFailure(error));
    }
  }

  private async handle(rows: readonly ClaimedUsage[], failure: PolarFailure): Promise<boolean> {
    const { kind, message, status } = failure;
    this.log.warn({ kind, status, rows: rows.length, reason: message }, 'usage not taken by Polar');
    if (kind === 'refused' && (status === 422 || status === 413)) return this.sift(rows, failure);
    if (kind === 'rate_limited') {
      await this.outbox.retry(rows, this.inMs(failure.retryAfterSeconds * 1_000), false, message);
    } else if (kind === 'unknown') {
      await this.retryLater(rows, message);
    } else {
      // The token, its scope or the version: nothing that the rows could help.
      this.alarms.raise('usage_refused', `Polar refuses usage: ${message}`);
      await this.outbox.retry(rows, this.inMs(UNAUTHORIZED_GAP_MS), true, message);
    }
    return false;
  }

  /** One bad row must not keep the others back: those that Polar names are set aside, else the batch is halved. */
  private async sift(rows: readonly ClaimedUsage[], failure: PolarFailure): Promise<boolean> {
    const named = failure.complaints.filter(({ loc }) => loc[1] === 'events' && typeof loc[2] === 'number');
    if (named.some(({ loc }) => loc[3] === 'timestamp')) {
      // Our clock is ahead, which is no fault of a row: the next try has a wider margin.
      await this.retryLater(rows, failure.message);
      return false;
    }
    const bad = new Set(named.map(({ loc }) => loc[2]));
    const dead = rows.length === 1 ? rows : rows.filter((_row, i) => bad.has(i));
    if (dead.length > 0) {
      this.log.error({ outbox_ids: dead.map(({ id }) => id), reason: failure.message }, 'usage set aside');
      await this.outbox.markDead(dead, failure.message);
      const rest = rows.filter((row) => !dead.includes(row));
      return rest.length === 0 || this.deliver(rest);
    }
    const middle = Math.ceil(rows.length / 2);
    const goesOn = await this.deliver(rows.slice(0, middle));
    return (await this.deliver(rows.slice(middle))) && goesOn;
  }

  private async retryLater(rows: readonly ClaimedUsage[], message: string): Promise<void> {
    const attempts = Math.max(...rows.map((row) => row.attempts)) + 1;
    await this.outbox.retry(rows, this.inMs(backoffMs(attempts)), true, message);
  }

  private chargeOf({ id, userId, meter, amount, createdAt, attempts }: ClaimedUsage): UsageCharge {
    const { eventName: name, property } = meters[meter] ?? { eventName: `usage.${meter}`, property: meter };
    const marginMs = Math.min(CLOCK_MARGIN_MAX_MS, CLOCK_MARGIN_MS * 2 ** Math.min(attempts, 20));
    const occurredAt = new Date(Math.min(createdAt.getTime(), this.clock.nowMs() - marginMs));
    return { externalId: `usage:${id}`, userId, name, property, amount: Number(amount), occurredAt };
  }

  /** After the interval, or just before a period ends. */
  private async nextTake(): Promise<Date> {
    const usual = this.inMs(this.env.POLAR_FLUSH_SECONDS * 1_000);
    const [row] = await this.db.query<{ at: Date | null }[]>(
      `SELECT min((subscription->>'periodEnd')::timestamptz) AS at FROM billing_accounts
       WHERE (subscription->>'periodEnd')::timestamptz BETWEEN $1 AND $2`,
      [this.inMs(BEFORE_PERIOD_END_MS + TICK_MS), usual],
    );
    return row?.at ? new Date(row.at.getTime() - BEFORE_PERIOD_END_MS) : usual;
  }

  private async nextSend(): Promise<Date> {
    const due = await this.outbox.nextDue();
    const usual = this.inMs(this.env.POLAR_FLUSH_SECONDS * 1_000);
    return due && due < usual ? new Date(Math.max(due.getTime(), this.clock.nowMs())) : usual;
  }

  private inMs(ms: number): Date {
    return new Date(this.clock.nowMs() + ms);
  }
}
