import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager, Not } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { HealthService } from '../platform/health/health.service';
import { BillingAccount } from './billing-account.entity';
import { BillingAlarms } from './billing-alarms';
import { BillingTask } from './billing-task.entity';
import { PolarClient } from './polar-client';
import type { EndpointState } from './reconciler';
import { UsageComparison } from './usage-comparison.entity';
import { Outbox, type OutboxState } from './usage-outbox';

const WATCH_MS = 10_000;
const LATE_MS = 300_000;
const SHOWN_MAX = 100;

/** Ledger and Polar, side by side. */
export interface Overview {
  readonly isConfigured: boolean;
  readonly alarms: readonly { readonly alarm: string; readonly text: string }[];
  readonly outbox: OutboxState;
  readonly meters: readonly MeterTotals[];
  readonly endpoint: EndpointState;
  readonly reconciledAt: Date | null;
  readonly compared: number;
  readonly drifts: readonly UsageComparison[];
  readonly customersWithoutPolar: number;
}

/** Of a meter: all that the ledger has, and where it is. `ledger = waiting + onTheirWay + setAside + sent`. */
export interface MeterTotals {
  readonly meter: string;
  readonly ledger: string;
  readonly waiting: string;
  readonly onTheirWay: string;
  readonly setAside: string;
  readonly sent: string;
}

const TOTALS_SQL = `
  SELECT meter, (sum(amount) + sum(taken))::text AS ledger, sum(amount)::text AS waiting,
         coalesce(max(o.pending), 0)::text AS "onTheirWay", coalesce(max(o.dead), 0)::text AS "setAside",
         (sum(taken) - coalesce(max(o.pending), 0) - coalesce(max(o.dead), 0))::text AS sent
  FROM usage_pending
  LEFT JOIN (SELECT meter, sum(amount) FILTER (WHERE status = 'pending') AS pending,
                    sum(amount) FILTER (WHERE status = 'dead') AS dead
             FROM usage_outbox WHERE status <> 'sent' GROUP BY meter) o USING (meter)
  GROUP BY meter ORDER BY meter`;

/** Watches over what billing does: raises the alarms that the tables tell of, and shows admins how ledger and Polar stand. */
@Injectable()
export class BillingOverview implements OnApplicationBootstrap, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private watching: Promise<void> | undefined;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly outbox: Outbox,
    private readonly alarms: BillingAlarms,
    private readonly polar: PolarClient,
    private readonly health: HealthService,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.polar.isConfigured) return;
    this.health.watch('billing', () => (this.alarms.list().length > 0 ? 'degraded' : 'up'));
    this.timer = setInterval(() => {
      this.watching ??= this.watch()
        .catch((error: unknown) => {
          this.log.error({ err: error }, 'billing not watched');
        })
        .finally(() => (this.watching = undefined));
    }, WATCH_MS).unref();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.watching;
  }

  /** Raises and clears the alarms that the tables tell of. */
  async watch(): Promise<void> {
    const { oldestAt, dead } = await this.outbox.state();
    const lateMs = oldestAt ? this.clock.nowMs() - oldestAt.getTime() : 0;
    this.alarms.set(
      'usage_late',
      lateMs > LATE_MS ? `Usage waits for Polar for ${Math.round(lateMs / 60_000)} minutes.` : null,
    );
    this.alarms.set('usage_set_aside', dead > 0 ? `Polar refuses ${dead} amounts for what they say.` : null);
    const drifting = await this.db.countBy(UsageComparison, { drift: Not('0') });
    this.alarms.set(
      'usage_drifts',
      drifting > 0 ? `Polar counts otherwise than the ledger for ${drifting} customers.` : null,
    );
    const endpoint = await this.endpoint();
    this.alarms.set(
      'webhooks_disabled',
      endpoint === 'disabled' ? 'Polar has switched the webhook endpoint off.' : null,
    );
    this.alarms.set(
      'webhooks_missing',
      endpoint === 'missing' ? 'Polar has no webhook endpoint for this service.' : null,
    );
  }

  async overview(): Promise<Overview> {
    await this.watch();
    const reconciled = await this.db.findOneBy(BillingTask, { name: 'reconcile' });
    return {
      isConfigured: this.polar.isConfigured,
      alarms: this.alarms.list(),
      outbox: await this.outbox.state(),
      meters: await this.db.query<MeterTotals[]>(TOTALS_SQL),
      endpoint: await this.endpoint(),
      reconciledAt: reconciled?.succeededAt ?? null,
      compared: await this.db.count(UsageComparison),
      drifts: await this.db.find(UsageComparison, {
        where: { drift: Not('0') },
        order: { checkedAt: 'DESC' },
        take: SHOWN_MAX,
      }),
      customersWithoutPolar: await this.db
        .createQueryBuilder(BillingAccount, 'account')
        .where('account.customerProblem IS NOT NULL')
        .getCount(),
    };
  }

  private async endpoint(): Promise<EndpointState> {
    const task = await this.db.findOneBy(BillingTask, { name: 'reconcile' });
    return (task?.memory?.['endpoint'] as EndpointState | undefined) ?? 'unknown';
  }
}
