import type { ApiError } from '../common/api-error';
import { formatUsd, type NanoUsd } from '../common/money';
import type { ApiKeyPrincipal } from '../common/principal';
import { plans } from '../users/plans';
import { UsageErrors } from './usage.errors';

/** What a caller's calendar month (UTC) is limited to; null: not at all. */
export interface Caps {
  readonly apiKeyUsd: NanoUsd | null;
  readonly accountUsd: NanoUsd | null;
  /** Of the plan, where it refuses what goes beyond. */
  readonly tokens: bigint | null;
}

export const NO_CAPS: Caps = { apiKeyUsd: null, accountUsd: null, tokens: null };

/** A key, or its owner's account, and what it is limited to. */
export interface Capped {
  readonly userId: string;
  readonly apiKeyId: string | null;
  readonly caps: Caps;
}

/** What a month has of something: `settled` is in the ledger, `held` is set aside for calls under way. */
export interface Standing {
  readonly settled: bigint;
  readonly held: bigint;
}

/** The standings that caps are held against. */
export interface Standings {
  readonly apiKeyUsd: Standing;
  readonly accountUsd: Standing;
  readonly tokens: Standing;
}

/** The caps of a caller, or null for none: his calls then skip the whole mechanism. */
export function capsOf({ budgets, tier }: Pick<ApiKeyPrincipal, 'budgets' | 'tier'>): Caps | null {
  const { apiKey, account } = budgets;
  const plan = plans[tier];
  const tokens = plan.beyondIncluded === 'refused' ? BigInt(plan.tokensIncludedPerMonth) : null;
  if (apiKey === null && account === null && tokens === null) return null;
  return { apiKeyUsd: apiKey, accountUsd: account, tokens };
}

/** The most that a call may consume. */
export interface Most {
  readonly tokens: bigint;
  readonly costNanoUsd: NanoUsd;
}

/** The first cap that such a call does not fit under any more, or null when it fits under all. */
export function capInTheWay(caps: Caps, { tokens, costNanoUsd }: Most, now: Standings): keyof Caps | null {
  const isFull = (cap: keyof Caps, wanted: bigint): boolean =>
    caps[cap] !== null && now[cap].settled + now[cap].held + wanted > caps[cap];
  if (isFull('apiKeyUsd', costNanoUsd)) return 'apiKeyUsd';
  if (isFull('accountUsd', costNanoUsd)) return 'accountUsd';
  return isFull('tokens', tokens) ? 'tokens' : null;
}

/**
 * The refusal of a call: which cap, how much of it is used, when it resets.
 * @param most null: of the call nothing is known.
 */
export function refusal(
  cap: keyof Caps,
  caps: Caps,
  most: Most | null,
  now: Standings,
  month: string,
): ApiError {
  const { settled, held } = now[cap];
  const resetsAt = `${nextMonth(month)}T00:00:00Z`;
  const limit = caps[cap] ?? 0n;
  if (cap === 'tokens')
    return UsageErrors.quotaExceeded(`${limit}`, `${settled}`, `${held}`, most && `${most.tokens}`, resetsAt);
  const whose = cap === 'apiKeyUsd' ? 'this API key' : 'the account';
  return UsageErrors.budgetExceeded(
    whose,
    shortUsd(limit),
    shortUsd(settled),
    shortUsd(held),
    most && shortUsd(most.costNanoUsd),
    resetsAt,
  );
}

const ALERT_PERCENTAGES = [100, 80, 50] as const;

/** The highest of 50, 80 and 100 per cent of a cap that is used, or 0. Of a cap of nothing everything is used. */
export function alertPercentage(used: bigint, cap: bigint): number {
  return ALERT_PERCENTAGES.find((percentage) => used * 100n >= cap * BigInt(percentage)) ?? 0;
}

/** The first day of the month (UTC) of a time, as `2026-11-01`. */
export function monthOf(time: Date): string {
  return `${time.toISOString().slice(0, 7)}-01`;
}

/** The first day of the month after, as `2026-12-01`. */
export function nextMonth(month: string): string {
  const [year = 0, number = 0] = month.split('-').map(Number);
  return new Date(Date.UTC(year, number, 1)).toISOString().slice(0, 10);
}

/** As many decimals as it takes, two at least. */
export function shortUsd(amount: NanoUsd): string {
  return formatUsd(amount).replace(/0{1,7}$/, '');
}
