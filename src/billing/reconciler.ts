import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { isUUID } from 'class-validator';
import type { Logger } from 'pino';
import { EntityManager, In } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { ENV, type Env } from '../config/env';
import { BillingAccount } from './billing-account.entity';
import { BillingTasks } from './billing-tasks';
import { Catalogue } from './catalogue';
import type { SubscriptionFacts } from './entitlement';
import { PolarClient } from './polar-client';
import { toPolarFailure } from './polar-failure';
import type { PolarSubscription } from './polar-schemas';
import { idBefore } from './time-ids';
import { WebhookRedelivery } from './webhook-redelivery';

const GAP_MS = 3_600_000;
const TASK = 'reconcile';
/** Rows that Polar has taken are kept to be sent again, should it turn out that it has not. */
const SENT_KEPT_MS = 14 * 86_400_000;
/** Polar may repeat a delivery for 90 days. What was bought and paid stays. */
const EVENTS_KEPT_MS = 100 * 86_400_000;

/** How Polar's webhook endpoint for this service stands; `unknown` when the token may not ask. */
export type EndpointState = 'enabled' | 'disabled' | 'missing' | 'unknown';

/** The address that Polar delivers to. */
export function webhookUrl({ PUBLIC_URL }: Pick<Env, 'PUBLIC_URL'>): string {
  return `${PUBLIC_URL}/api/v1/webhooks/polar`;
}

/**
 * At every start and every hour: reads all active subscriptions and has Polar asked about every account where they are
 * not what is known here, for Polar gives up a delivery after half an hour. Sees to it that deliveries come at all,
 * and again when they failed.
 */
@Injectable()
export class Reconciler implements OnModuleInit, OnApplicationBootstrap {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly tasks: BillingTasks,
    private readonly catalogue: Catalogue,
    private readonly polar: PolarClient,
    private readonly redelivery: WebhookRedelivery,
    @Inject(ENV) private readonly env: Env,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onModuleInit(): void {
    const next = (): Promise<Date> => Promise.resolve(new Date(this.clock.nowMs() + GAP_MS));
    this.tasks.define(TASK, () => this.reconcile(), next);
  }

  async onApplicationBootstrap(): Promise<void> {
    if (this.polar.isConfigured) await this.tasks.hurry(TASK);
  }

  /** Has it done at the next tick of any process. */
  hurry(): Promise<void> {
    return this.tasks.hurry(TASK);
  }

  async reconcile(): Promise<void> {
    const subscribed = new Set<string>();
    for await (const page of this.polar.activeSubscriptions()) {
      const pages = Map.groupBy(page, ({ customer }) => (customer?.external_id ?? '').toLowerCase());
      await this.comparePage(pages);
      for (const userId of pages.keys()) subscribed.add(userId);
    }
    await this.askAboutOthers(subscribed);
    await this.checkEndpoint();
    await this.cleanUp();
  }

  /** Has Polar asked about accounts whose active subscriptions are others than the customer's last state says. */
  private async comparePage(subscriptions: ReadonlyMap<string, readonly PolarSubscription[]>): Promise<void> {
    const userIds = [...subscriptions.keys()].filter((id) => isUUID(id));
    const accounts = await this.db.findBy(BillingAccount, { userId: In(userIds) });
    const known = new Map(accounts.map((account) => [account.userId, account]));
    const differing = userIds.filter((userId) => {
      const active = known.get(userId)?.state?.active ?? [];
      const facts = (subscriptions.get(userId) ?? []).map((one) => this.catalogue.factsOf(one));
      return facts.some((one) => !active.some((other) => isSame(one, other)));
    });
    await this.db.query(
      `INSERT INTO billing_accounts (user_id, sync_at) SELECT id, $2 FROM users WHERE id = ANY($1)
       ON CONFLICT (user_id) DO UPDATE SET sync_at = least(billing_accounts.sync_at, EXCLUDED.sync_at)`,
      [differing, this.clock.now()],
    );
  }

  /** Whoever has a plan here and no subscription there. */
  private async askAboutOthers(subscribed: ReadonlySet<string>): Promise<void> {
    const paid = await this.db.query<{ id: string }[]>(`SELECT id FROM users WHERE billing_tier <> 'free'`);
    const others = paid.map(({ id }) => id).filter((id) => !subscribed.has(id));
    await this.db.query('UPDATE billing_accounts SET sync_at = least(sync_at, $2) WHERE user_id = ANY($1)', [
      others,
      this.clock.now(),
    ]);
  }

  /** Polar switches an endpoint off after ten deliveries in a row that it gave up, and tells nobody but by mail. */
  private async checkEndpoint(): Promise<void> {
    let state: EndpointState = 'unknown';
    try {
      const endpoint = (await this.polar.webhookEndpoints()).find(({ url }) => url === webhookUrl(this.env));
      state = endpoint ? (endpoint.enabled ? 'enabled' : 'disabled') : 'missing';
      if (endpoint?.enabled) await this.askAgain(endpoint.id);
    } catch (error) {
      if (toPolarFailure(error).kind !== 'unauthorized') throw error;
      this.log.info('the token may not read webhook endpoints, or not have deliveries repeated');
    }
    await this.db.query('UPDATE billing_tasks SET memory = $2 WHERE name = $1', [TASK, { endpoint: state }]);
  }

  private async askAgain(endpointId: string): Promise<void> {
    const [task] = await this.db.query<{ at: Date | null }[]>(
      'SELECT succeeded_at AS at FROM billing_tasks WHERE name = $1',
      [TASK],
    );
    const deliveries = await this.redelivery.askAgain(endpointId, task?.at ?? null);
    if (deliveries > 0) this.log.info({ deliveries }, 'asked Polar to deliver again what failed');
  }

  /** By their ids, which grow with time. */
  private async cleanUp(): Promise<void> {
    const nowMs = this.clock.nowMs();
    await this.db.query(`DELETE FROM usage_outbox WHERE id < $1 AND status = 'sent'`, [
      idBefore(nowMs - SENT_KEPT_MS),
    ]);
    await this.db.query(
      `DELETE FROM billing_events WHERE id < $1 AND (type = 'customer.state_changed' OR status = 'ignored')`,
      [idBefore(nowMs - EVENTS_KEPT_MS)],
    );
  }
}

function isSame(one: SubscriptionFacts, other: SubscriptionFacts): boolean {
  return (
    one.id === other.id &&
    one.status === other.status &&
    one.productId === other.productId &&
    one.cancelAtPeriodEnd === other.cancelAtPeriodEnd &&
    one.periodEnd === other.periodEnd
  );
}
