import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOG } from '../common/log-token';

/** What an operator must look after; docs/billing.md says what to do about each. */
export type AlarmName =
  | 'meter_missing'
  | 'usage_refused'
  | 'usage_late'
  | 'usage_set_aside'
  | 'usage_drifts'
  | 'webhooks_disabled'
  | 'webhooks_missing';

/** The alarms of this process: logged when they begin and when they end, shown by health and to admins. */
@Injectable()
export class BillingAlarms {
  private readonly raised = new Map<AlarmName, string>();

  constructor(@Inject(LOG) private readonly log: Logger) {}

  raise(alarm: AlarmName, text: string): void {
    if (!this.raised.has(alarm)) this.log.error({ alarm, reason: text }, 'billing alarm');
    this.raised.set(alarm, text);
  }

  clear(alarm: AlarmName): void {
    if (this.raised.delete(alarm)) this.log.info({ alarm }, 'billing alarm is over');
  }

  /** Raises or clears. */
  set(alarm: AlarmName, text: string | null): void {
    if (text === null) this.clear(alarm);
    else this.raise(alarm, text);
  }

  list(): { alarm: AlarmName; text: string }[] {
    return [...this.raised].map(([alarm, text]) => ({ alarm, text }));
  }
}
