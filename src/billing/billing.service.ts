import { Injectable } from '@nestjs/common';
import { EntityManager, LessThan } from 'typeorm';
import { Clock } from '../common/clock';
import { type Page, pageOf, type PageRequest } from '../common/pagination';
import type { NanoUsd } from '../common/money';
import type { Tier } from '../common/principal';
import { type Plan, plans, TOKEN_BEYOND_NANO_USD } from '../users/plans';
import { UsersService } from '../users/users.service';
import { BillingAccounts } from './billing-accounts';
import { BillingEvent } from './billing-event.entity';
import { Catalogue } from './catalogue';
import { isEntitled, type SubscriptionFacts } from './entitlement';
import { PolarClient } from './polar-client';

const NANO_PER_USD = 1_000_000_000n;
const HOUR_MS = 3_600_000;

const TOKENS_SQL = `
  SELECT coalesce((SELECT sum(tokens_used) FROM usage_logs WHERE user_id = $1 AND created_at >= $2 AND created_at < $3), 0)
       + coalesce((SELECT sum(input_tokens + output_tokens) FROM usage_hours WHERE user_id = $1 AND hour >= $3), 0) AS tokens`;

/** What a customer sees of his plan and of what it will cost. */
export interface BillingInfo {
  readonly tier: Tier;
  readonly status: string;
  readonly cancelAtPeriodEnd: boolean;
  /** The plan that follows with the next period; null: the same, or none. */
  readonly pendingTier: Tier | null;
  readonly periodStart: Date;
  readonly periodEnd: Date;
  readonly tokensIncluded: number;
  readonly tokensUsed: number;
  readonly costSoFar: NanoUsd;
  readonly forecastCost: NanoUsd;
  readonly portalAvailable: boolean;
}

/** Answers from our own tables alone: a Polar that does not answer changes nothing here. */
@Injectable()
export class BillingService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly users: UsersService,
    private readonly accounts: BillingAccounts,
    private readonly catalogue: Catalogue,
    private readonly polar: PolarClient,
  ) {}

  async info(userId: string): Promise<BillingInfo> {
    const { tier } = await this.users.get(userId);
    const account = await this.accounts.find(userId);
    const subscription = account?.subscription ?? null;
    const entitled = subscription && isEntitled(subscription) ? subscription : null;
    const period = this.periodOf(entitled);
    const tokensUsed = await this.tokensUsed(userId, period.start);
    // What Polar charges is what was bought, whatever plan an operator has set since.
    const billed = entitled?.tier ? plans[entitled.tier] : null;
    return {
      tier,
      status: subscription?.status ?? 'none',
      cancelAtPeriodEnd: subscription?.cancelAtPeriodEnd ?? false,
      pendingTier: this.pendingTier(subscription),
      periodStart: period.start,
      periodEnd: period.end,
      tokensIncluded: plans[tier].tokensIncludedPerMonth,
      tokensUsed,
      costSoFar: billed ? costOf(billed, BigInt(tokensUsed)) : 0n,
      forecastCost: billed ? costOf(billed, this.forecast(tokensUsed, period)) : 0n,
      portalAvailable: this.polar.isConfigured && (account?.polarCustomerId ?? null) !== null,
    };
  }

  /** What was heard of Polar about a user, newest first. */
  async events(userId: string, page: PageRequest): Promise<Page<BillingEvent>> {
    const rows = await this.db.find(BillingEvent, {
      where: { userId, ...(page.before !== null && { id: LessThan(page.before) }) },
      order: { id: 'DESC' },
      take: page.limit + 1,
    });
    return pageOf(rows, page);
  }

  private pendingTier(subscription: SubscriptionFacts | null): Tier | null {
    if (!subscription || subscription.cancelAtPeriodEnd || !isEntitled(subscription)) return null;
    return this.catalogue.tierOf(subscription.pendingProductId ?? null);
  }

  /** The subscription's period while it lasts, else the calendar month in UTC. */
  private periodOf(subscription: { periodStart: string | null; periodEnd: string | null } | null): {
    start: Date;
    end: Date;
  } {
    const now = this.clock.now();
    const [start, end] = [subscription?.periodStart, subscription?.periodEnd].map(
      (text) => new Date(text ?? NaN),
    );
    if (start && end && start <= now && now < end) return { start, end };
    const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()];
    return { start: new Date(Date.UTC(year, month, 1)), end: new Date(Date.UTC(year, month + 1, 1)) };
  }

  /** The ledger itself until the first full hour, and its sums by the hour from there on. */
  private async tokensUsed(userId: string, from: Date): Promise<number> {
    const firstHour = new Date(Math.ceil(from.getTime() / HOUR_MS) * HOUR_MS);
    const [row] = await this.db.query<{ tokens: string }[]>(TOKENS_SQL, [userId, from, firstHour]);
    return Number(row?.tokens);
  }

  /** As many tokens in each hour to come as in those so far. */
  private forecast(tokensUsed: number, { start, end }: { start: Date; end: Date }): bigint {
    const elapsedMs = Math.max(1, this.clock.nowMs() - start.getTime());
    return BigInt(Math.round((tokensUsed * (end.getTime() - start.getTime())) / elapsedMs));
  }
}

/** The price of a plan's month in which so many tokens are used. */
export function costOf(plan: Plan, tokens: bigint): NanoUsd {
  const base = BigInt(plan.priceUsdPerMonth) * NANO_PER_USD;
  const beyond = tokens - BigInt(plan.tokensIncludedPerMonth);
  return beyond > 0n && plan.beyondIncluded === 'billed' ? base + beyond * TOKEN_BEYOND_NANO_USD : base;
}
