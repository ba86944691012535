import { type Tier, tiers } from '../common/principal';

/** A subscription, as far as it decides what its customer may do. */
export interface SubscriptionFacts {
  readonly id: string;
  /** As Polar names it: `active`, `trialing`, `past_due`, `paused`, `canceled`, ... */
  readonly status: string;
  readonly productId: string;
  /** The plan that the product sells; null when it sells none of ours. */
  readonly tier: Tier | null;
  readonly cancelAtPeriodEnd: boolean;
  /** RFC 3339. */
  readonly periodStart: string | null;
  readonly periodEnd: string | null;
  /** The product that follows with the next period; null: the same. Absent in what was stored before it was known. */
  readonly pendingProductId?: string | null;
}

/** The newest that was heard of one subscription alone. */
export interface KnownSubscription extends SubscriptionFacts {
  /** When it was so, in microseconds since the Unix epoch: Polar's events follow each other within a millisecond. */
  readonly atUs: number;
}

/** All that a customer had at one moment. */
export interface CustomerState {
  readonly atUs: number;
  /** Those that are active or on trial: Polar lists no others. */
  readonly active: readonly SubscriptionFacts[];
  /** The tiers of the granted benefits; they stay while Polar waits for a late payment. */
  readonly grantedTiers: readonly Tier[];
}

/** What a customer may do now, and the subscription it comes from. */
export interface Entitlement {
  readonly tier: Tier;
  readonly subscription: SubscriptionFacts | null;
}

/**
 * Computes what a customer is entitled to from the newest facts alone, so that it does not matter in which order or
 * how often they arrived: of each subscription the newer of its own last event and the customer's last whole state counts.
 */
export function entitlementOf(state: CustomerState | null, known: readonly KnownSubscription[]): Entitlement {
  const newer = known.filter(({ atUs }) => !state || atUs > state.atUs);
  const stated = (state?.active ?? [])
    .filter(({ id }) => !newer.some((one) => one.id === id))
    .map((one) => completed(one, known));
  const entitled = [...newer.filter(isEntitled), ...stated];
  const ended = known
    .filter((one) => !entitled.some(({ id }) => id === one.id))
    .map((one) => (newer.includes(one) ? one : endedByState(one)));

  const granted = (state?.grantedTiers ?? []).filter((tier) => !outdatedTiers(state, newer).includes(tier));
  const tier = highest([...granted, ...entitled.flatMap((one) => one.tier ?? [])]);
  return { tier, subscription: best(entitled) ?? best(ended.filter(isLiving)) ?? best(ended) };
}

/** Whether a subscription still gives something, or may again without being bought anew. */
export function isLiving({ status }: Pick<SubscriptionFacts, 'status'>): boolean {
  return ['active', 'trialing', 'past_due', 'paused', 'unpaid'].includes(status);
}

/** A payment that is late ends nothing yet: Polar tries again for weeks, and the customer's state says when it gives up. */
export function isEntitled({ status }: Pick<SubscriptionFacts, 'status'>): boolean {
  return ['active', 'trialing', 'past_due'].includes(status);
}

/**
 * A customer's state tells neither what is to follow nor the plan of a product that is not of the catalogue: both are
 * what was heard last, unless the product has changed since.
 */
function completed(one: SubscriptionFacts, known: readonly KnownSubscription[]): SubscriptionFacts {
  const same = known.find(({ id, productId }) => id === one.id && productId === one.productId);
  return { ...one, tier: one.tier ?? same?.tier ?? null, pendingProductId: same?.pendingProductId ?? null };
}

/** One that was active and is not in a later state any more has ended, whatever became of it. */
function endedByState(one: KnownSubscription): KnownSubscription {
  return ['active', 'trialing'].includes(one.status) ? { ...one, status: 'canceled' } : one;
}

/** Tiers whose grant may be of a subscription that has ended or changed since the state was taken. */
function outdatedTiers(state: CustomerState | null, newer: readonly KnownSubscription[]): (Tier | null)[] {
  return newer.flatMap((one) => {
    const before = state?.active.find(({ id }) => id === one.id)?.tier ?? null;
    return [...(isEntitled(one) ? [] : [one.tier]), ...(before === one.tier ? [] : [before])];
  });
}

function highest(candidates: readonly Tier[]): Tier {
  return tiers[Math.max(0, ...candidates.map((tier) => tiers.indexOf(tier)))] ?? 'free';
}

/** The one of the highest tier, then the one that lasts longest, then by id, so that there is one answer. */
function best(subscriptions: readonly SubscriptionFacts[]): SubscriptionFacts | null {
  const rank = ({ tier, periodEnd, id }: SubscriptionFacts): string =>
    `${tier ? tiers.indexOf(tier) : 0} ${periodEnd ?? ''} ${id}`;
  return subscriptions.reduce<SubscriptionFacts | null>(
    (found, one) => (found && rank(found) >= rank(one) ? found : one),
    null,
  );
}

/** A moment of Polar's in microseconds; `Date` would drop three digits. @param text RFC 3339, in UTC or with an offset. */
export function microseconds(text: string): number {
  const digits = /\.(\d+)/.exec(text)?.[1] ?? '';
  return Date.parse(text.replace(/\.\d+/, '')) * 1_000 + Number(digits.slice(0, 6).padEnd(6, '0'));
}
