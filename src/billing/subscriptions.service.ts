import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { ApiError } from '../common/api-error';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { tiers, type UserPrincipal } from '../common/principal';
import { ENV, type Env } from '../config/env';
import { lockForSession } from '../users/lock-user';
import { UsersService } from '../users/users.service';
import { BillingErrors } from './billing.errors';
import { BillingAccounts } from './billing-accounts';
import { Catalogue, type SoldTier } from './catalogue';
import { Checkouts, type PolarPage } from './checkouts';
import { CustomerSync } from './customer-sync';
import { isLiving, type SubscriptionFacts } from './entitlement';
import { PolarClient, type SubscriptionChange } from './polar-client';
import { PolarFailure } from './polar-failure';
import type { PolarSubscription } from './polar-schemas';

/** Whoever asks, and in which session. */
type Owner = Pick<UserPrincipal, 'userId' | 'sessionId'>;

/**
 * What a customer does about his plan. Whose subscription it is comes from his own account and never from the request;
 * what he may do afterwards comes from Polar's state.
 */
@Injectable()
export class SubscriptionsService {
  private readonly origins: readonly string[];

  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly accounts: BillingAccounts,
    private readonly catalogue: Catalogue,
    private readonly checkouts: Checkouts,
    private readonly customers: CustomerSync,
    private readonly polar: PolarClient,
    private readonly clock: Clock,
    @Inject(ENV) private readonly env: Env,
    @Inject(LOG) private readonly log: Logger,
  ) {
    this.origins = [new URL(env.PUBLIC_URL).origin, ...env.ALLOWED_ORIGINS];
  }

  /** @throws ApiError `billing_not_configured`, `plan_not_for_sale`, `subscription_exists`, `checkout_in_progress`, ... */
  async checkout(owner: Owner, tier: SoldTier, returnUrl: string | undefined): Promise<PolarPage> {
    await this.admit(owner);
    const { userId } = owner;
    const productId = this.productOf(tier);
    if (await this.current(userId)) throw BillingErrors.subscriptionExists();
    const isKnown = ((await this.accounts.find(userId))?.polarCustomerId ?? null) !== null;
    // Polar refuses an address that another customer took there.
    const email = isKnown ? null : (await this.users.get(userId)).email;
    const back = this.returnUrl(returnUrl);
    const successUrl = `${back}${back.includes('?') ? '&' : '?'}checkout_id={CHECKOUT_ID}`;
    return this.ask(() => this.checkouts.open(productId, { userId, email, successUrl, returnUrl: back }));
  }

  /** A page for one click; made anew each time. @throws ApiError `billing_not_configured`, `no_billing_customer`, ... */
  async portal(owner: Owner, returnUrl: string | undefined): Promise<PolarPage> {
    await this.admit(owner);
    const { userId } = owner;
    const account = await this.accounts.find(userId);
    if (!account?.polarCustomerId) throw BillingErrors.noCustomer.with({ retryAfterSeconds: 60 });
    const session = await this.ask(() => this.polar.openPortal(userId, this.returnUrl(returnUrl)));
    return { url: session.customer_portal_url, expiresAt: new Date(session.expires_at) };
  }

  /**
   * To a higher plan at once, the difference invoiced now; to a lower one with the next period, which is paid for until then.
   * The plan he has takes back a lower one that was to follow. What Polar refuses leaves everything as it was.
   * @throws ApiError `no_subscription`, `subscription_ends`, `plan_not_for_sale`, `billing_refused`, ...
   */
  async change(owner: Owner, tier: SoldTier): Promise<void> {
    await this.admit(owner);
    const { userId } = owner;
    const productId = this.productOf(tier);
    const isDone = (one: SubscriptionFacts): boolean =>
      one.cancelAtPeriodEnd || (one.productId === productId && !one.pendingProductId);
    const subscription = await this.require(userId, isDone);
    if (subscription.productId === productId) {
      if (subscription.pendingProductId) await this.update(userId, subscription, { pending_update: null });
      return;
    }
    if (subscription.cancelAtPeriodEnd) throw BillingErrors.subscriptionEnds();
    const isUpgrade = tiers.indexOf(tier) > (subscription.tier ? tiers.indexOf(subscription.tier) : 0);
    const proration = isUpgrade ? ('invoice' as const) : ('next_period' as const);
    await this.update(userId, subscription, { product_id: productId, proration_behavior: proration });
  }

  /** Ends the subscription with its period (true), or lets it go on (false). @throws ApiError `no_subscription`, ... */
  async setEnding(owner: Owner, isEnding: boolean): Promise<void> {
    await this.admit(owner);
    const { userId } = owner;
    const isDone = (one: SubscriptionFacts): boolean => one.cancelAtPeriodEnd === isEnding;
    const subscription = await this.require(userId, isDone);
    if (isDone(subscription)) return;
    await this.update(userId, subscription, { cancel_at_period_end: isEnding });
  }

  private async update(userId: string, { id }: SubscriptionFacts, change: SubscriptionChange): Promise<void> {
    const ask = (): Promise<PolarSubscription> => this.polar.changeSubscription(id, change);
    await this.note(userId, () =>
      this.ask(ask, BillingErrors.outcomeUnknown).catch(async (error: unknown) => {
        await this.accounts.syncAt(userId, this.clock.now());
        throw error;
      }),
    );
  }

  /** Applies what Polar answers of a subscription, and what follows from it. */
  private async note(userId: string, ask: () => Promise<PolarSubscription>): Promise<void> {
    // Whatever is true afterwards is at least as new as the moment before asking.
    const atUs = this.clock.nowMs() * 1_000;
    const facts = { ...this.catalogue.factsOf(await ask()), atUs };
    await this.accounts.change(userId, async (account, tx) => {
      await this.accounts.noteSubscription(account, facts, tx);
    });
    // It is so, whether or not its consequences can be read now: the webhook tells them too.
    await this.customers.sync(userId).catch((error: unknown) => {
      this.log.warn(
        { user_id: userId, reason: (error as Error).message },
        'state of a subscription not read',
      );
    });
  }

  private async current(userId: string): Promise<SubscriptionFacts | null> {
    const subscription = (await this.accounts.find(userId))?.subscription ?? null;
    return subscription && isLiving(subscription) ? subscription : null;
  }

  /** As it is known here, or as Polar says when by that there is nothing to do: what changed there may not have been heard of. */
  private async require(
    userId: string,
    isDone: (subscription: SubscriptionFacts) => boolean,
  ): Promise<SubscriptionFacts> {
    let subscription = await this.current(userId);
    if (subscription && isDone(subscription)) {
      const { id } = subscription;
      await this.note(userId, () => this.ask(() => this.polar.getSubscription(id)));
      subscription = await this.current(userId);
    }
    if (!subscription) throw BillingErrors.noSubscription();
    return subscription;
  }

  private productOf(tier: SoldTier): string {
    const productId = this.catalogue.productOf(tier);
    if (productId === null) throw BillingErrors.notForSale(tier);
    return productId;
  }

  /** @throws ApiError `invalid_return_url`: Polar's page must not lead where a stranger wants it to. */
  private returnUrl(wanted: string | undefined): string {
    if (!wanted) return this.env.PUBLIC_URL;
    if (!URL.canParse(wanted)) throw BillingErrors.badReturnUrl();
    const { origin, href, username, password } = new URL(wanted);
    if (!this.origins.includes(origin) || username || password) throw BillingErrors.badReturnUrl();
    return href;
  }

  /** Of a session that has just ended elsewhere, which its guard may know a second later, Polar is asked nothing. */
  private async admit(owner: Owner): Promise<void> {
    if (!this.polar.isConfigured) throw BillingErrors.notConfigured();
    await this.db.transaction((tx) => lockForSession(owner, tx));
  }

  /** Gives Polar's refusals their place in the catalogue. @param unknown what to say when nobody knows whether it was done. */
  private async ask<Result>(
    work: () => Promise<Result>,
    unknown = BillingErrors.unavailable,
  ): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ApiError || !(error instanceof PolarFailure)) throw error;
      if (error.kind === 'refused' || error.kind === 'not_found')
        throw BillingErrors.refused.with({ cause: error });
      const unsure = error.kind === 'unknown' ? unknown : BillingErrors.unavailable;
      const wait = error.kind === 'rate_limited' ? Math.ceil(error.retryAfterSeconds) : 5;
      throw unsure.with({ cause: error, retryAfterSeconds: wait });
    }
  }
}
