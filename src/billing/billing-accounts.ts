import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { ApiKeysService } from '../api-keys/api-keys.service';
import { SessionsService } from '../auth/sessions.service';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { Audit, SYSTEM } from '../platform/audit/audit';
import { lockUser } from '../users/lock-user';
import { User } from '../users/user.entity';
import { BillingAccount } from './billing-account.entity';
import { type CustomerState, entitlementOf, isLiving, type KnownSubscription } from './entitlement';
import { PolarCheckoutRow } from './polar-checkout.entity';
import { PolarSubscriptionRow } from './polar-subscription.entity';

const UPSERT_SUBSCRIPTION_SQL = `
  INSERT INTO polar_subscriptions (id, user_id, status, product_id, tier, cancel_at_period_end, period_start, period_end,
    pending_product_id, at_us)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
  ON CONFLICT (id) DO UPDATE
  SET status = EXCLUDED.status, product_id = EXCLUDED.product_id, tier = EXCLUDED.tier,
      cancel_at_period_end = EXCLUDED.cancel_at_period_end, period_start = EXCLUDED.period_start,
      period_end = EXCLUDED.period_end, pending_product_id = EXCLUDED.pending_product_id, at_us = EXCLUDED.at_us
  WHERE polar_subscriptions.user_id = EXCLUDED.user_id AND polar_subscriptions.at_us < EXCLUDED.at_us
  RETURNING id`;

/** What is known of an account's subscriptions, and what follows from it. Facts older than what is known change nothing. */
@Injectable()
export class BillingAccounts {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
    private readonly apiKeys: ApiKeysService,
    private readonly sessions: SessionsService,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** The account, or null as long as nothing has been done for it. */
  find(userId: string, tx: EntityManager = this.db): Promise<BillingAccount | null> {
    return tx.findOneBy(BillingAccount, { userId });
  }

  /**
   * Runs `work` while nobody else writes facts of the account, then decides anew what the user may do: at once in this
   * process, within a second in every other.
   */
  async change<Result>(
    userId: string,
    work: (account: BillingAccount, tx: EntityManager) => Promise<Result>,
  ): Promise<Result> {
    const result = await this.db.transaction(async (tx) => {
      // The account first, as by its owner, or two could wait for each other.
      await lockUser(userId, tx);
      await tx.createQueryBuilder().insert().into(BillingAccount).values({ userId }).orIgnore().execute();
      const lock = { mode: 'pessimistic_write' } as const;
      const account = await tx.findOneOrFail(BillingAccount, { where: { userId }, lock });
      const done = await work(account, tx);
      await this.decide(account, tx);
      return done;
    });
    this.apiKeys.forget(userId);
    this.sessions.forget(userId);
    return result;
  }

  /** @returns false when something newer is known. */
  async noteSubscription(
    account: BillingAccount,
    facts: KnownSubscription,
    tx: EntityManager,
  ): Promise<boolean> {
    const rows = await tx.query<unknown[]>(UPSERT_SUBSCRIPTION_SQL, [
      facts.id,
      account.userId,
      facts.status,
      facts.productId,
      facts.tier,
      facts.cancelAtPeriodEnd,
      facts.periodStart,
      facts.periodEnd,
      facts.pendingProductId ?? null,
      facts.atUs,
    ]);
    return rows.length > 0;
  }

  /** @returns false when something newer is known. */
  async noteState(account: BillingAccount, state: CustomerState, tx: EntityManager): Promise<boolean> {
    if (account.state && account.state.atUs >= state.atUs) return false;
    account.state = state;
    await tx.update(BillingAccount, { userId: account.userId }, { state });
    return true;
  }

  /** Remembers the customer's id at Polar. The first that comes stays: Polar never changes whose customer one is. */
  async noteCustomer(account: BillingAccount, polarCustomerId: string, tx: EntityManager): Promise<void> {
    if (account.polarCustomerId !== null || (await tx.existsBy(BillingAccount, { polarCustomerId }))) return;
    account.polarCustomerId = polarCustomerId;
    account.customerProblem = null;
    const { userId } = account;
    await tx.update(BillingAccount, { userId }, { polarCustomerId, customerProblem: null });
  }

  /** Has Polar asked about an account at `at`, unless that is due sooner anyway. */
  async syncAt(userId: string, at: Date, tx: EntityManager = this.db): Promise<void> {
    await tx.query('UPDATE billing_accounts SET sync_at = least(sync_at, $2) WHERE user_id = $1', [
      userId,
      at,
    ]);
  }

  /** Recomputes, never increments: the same facts give the same tier, whatever it was before. */
  private async decide({ userId, state }: BillingAccount, tx: EntityManager): Promise<void> {
    const known = await tx.findBy(PolarSubscriptionRow, { userId });
    const { tier, subscription } = entitlementOf(state, known);
    await tx.update(BillingAccount, { userId }, { subscription });
    // A checkout that was paid is not handed out again after that.
    if (subscription && isLiving(subscription)) await tx.delete(PolarCheckoutRow, { userId });
    const lock = { mode: 'pessimistic_write' } as const;
    const user = await tx.findOneOrFail(User, { where: { id: userId }, lock });
    if (user.billingTier === tier) return;
    await tx.update(User, { id: userId }, { billingTier: tier, updatedAt: this.clock.now() });
    const details = { from: user.billingTier, to: tier };
    await this.audit.record({ action: 'tier.billed', by: SYSTEM, subjectId: userId, details }, tx);
    this.log.info({ user_id: userId, ...details }, 'tier changed by billing');
  }
}
