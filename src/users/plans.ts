import type { Tier } from '../common/principal';

/** What a tier costs, includes and allows. An operator who wants other numbers changes this file and nothing else. */
export interface Plan {
  readonly tier: Tier;
  readonly name: string;
  /** US dollars a month. */
  readonly priceUsdPerMonth: number;
  /** Tokens that the price includes, each month. */
  readonly tokensIncludedPerMonth: number;
  /** What happens to calls beyond them. */
  readonly beyondIncluded: 'refused' | 'billed';
  /** Most keys that are active at once. */
  readonly activeKeysMax: number;
  /** Most a key's own `rate_limit_per_minute` may be. */
  readonly keyRatePerMinuteMax: number;
  /** Metered requests per user; null: no limit. */
  readonly requestsPerHourMax: number | null;
  readonly requestsPerDayMax: number | null;
  /** Tokens that calls of an operation may use in any 60 seconds, per user; null: no limit. */
  readonly tokensPerMinuteMax: { readonly generate: number | null };
}

/** `rate_limit_per_minute` of a key whose maker names none. */
export const KEY_RATE_PER_MINUTE_DEFAULT = 100;

/** What Polar charges for each token beyond the included ones, in nano-dollars: 0.0001 USD. */
export const TOKEN_BEYOND_NANO_USD = 100_000n;

/** The one catalogue of tiers. */
export const plans: Readonly<Record<Tier, Plan>> = {
  free: {
    tier: 'free',
    name: 'Free',
    priceUsdPerMonth: 0,
    tokensIncludedPerMonth: 10_000,
    beyondIncluded: 'refused',
    activeKeysMax: 5,
    keyRatePerMinuteMax: 100,
    requestsPerHourMax: 3_000,
    requestsPerDayMax: 20_000,
    tokensPerMinuteMax: { generate: null },
  },
  starter: {
    tier: 'starter',
    name: 'Starter',
    priceUsdPerMonth: 29,
    tokensIncludedPerMonth: 100_000,
    beyondIncluded: 'billed',
    activeKeysMax: 20,
    keyRatePerMinuteMax: 1_000,
    requestsPerHourMax: 30_000,
    requestsPerDayMax: 200_000,
    tokensPerMinuteMax: { generate: null },
  },
  professional: {
    tier: 'professional',
    name: 'Professional',
    priceUsdPerMonth: 99,
    tokensIncludedPerMonth: 1_000_000,
    beyondIncluded: 'billed',
    activeKeysMax: 100,
    keyRatePerMinuteMax: 10_000,
    requestsPerHourMax: 300_000,
    requestsPerDayMax: 2_000_000,
    tokensPerMinuteMax: { generate: null },
  },
  enterprise: {
    tier: 'enterprise',
    name: 'Enterprise',
    priceUsdPerMonth: 299,
    tokensIncludedPerMonth: 10_000_000,
    beyondIncluded: 'billed',
    activeKeysMax: 1_000,
    keyRatePerMinuteMax: 100_000,
    requestsPerHourMax: 3_000_000,
    requestsPerDayMax: 20_000_000,
    tokensPerMinuteMax: { generate: null },
  },
  internal: {
    tier: 'internal',
    name: 'Internal',
    priceUsdPerMonth: 0,
    tokensIncludedPerMonth: 0,
    beyondIncluded: 'billed',
    activeKeysMax: 10_000,
    keyRatePerMinuteMax: 2_147_483_647,
    requestsPerHourMax: null,
    requestsPerDayMax: null,
    tokensPerMinuteMax: { generate: null },
  },
};

/** The tier in force: what an admin set comes before what billing wrote. */
export function tierInForce(user: { tierOverride: Tier | null; billingTier: Tier }): Tier {
  return user.tierOverride ?? user.billingTier;
}
