import { type NanoUsd, parseUsd } from '../common/money';

/** What a call consumed, as its provider counts it. */
export interface Consumption {
  /** Null, as for the model: nobody said. */
  readonly provider: string | null;
  readonly model: string | null;
  /** Those from the provider's cache included. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Input that the provider had in its cache; default: none. */
  readonly cachedTokens?: number;
}

/** Decimal strings of US dollars with at most six decimals. */
export interface Rates {
  readonly inputUsdPerMillion: string;
  readonly outputUsdPerMillion: string;
  readonly cachedUsdPerMillion: string;
  readonly requestUsd: string;
}

/** A price and what it is for; null matches everything. */
export interface PriceRule extends Rates {
  readonly version: number;
  readonly operation: string;
  readonly provider: string | null;
  readonly model: string | null;
  readonly effectiveFrom: Date;
}

const MILLION = 1_000_000n;

/** The exact cost of a call, rounded half up to a nano-dollar. */
export function costOf(
  rates: Rates,
  { inputTokens, outputTokens, cachedTokens = 0 }: Omit<Consumption, 'provider' | 'model'>,
): NanoUsd {
  const perMillion =
    BigInt(inputTokens - cachedTokens) * parseUsd(rates.inputUsdPerMillion) +
    BigInt(cachedTokens) * parseUsd(rates.cachedUsdPerMillion) +
    BigInt(outputTokens) * parseUsd(rates.outputUsdPerMillion);
  return (perMillion + MILLION / 2n) / MILLION + parseUsd(rates.requestUsd);
}

/**
 * The rule that is in force for a call at a time: the most exact one (a model counts more than a provider), of several
 * the one that came into force last.
 */
export function ruleInForce(
  rules: readonly PriceRule[],
  operation: string,
  { provider, model }: Pick<Consumption, 'provider' | 'model'>,
  at: Date,
): PriceRule | undefined {
  const matches = rules.filter(
    (rule) =>
      rule.operation === operation &&
      (rule.provider === null || rule.provider === provider) &&
      (rule.model === null || rule.model === model) &&
      rule.effectiveFrom <= at,
  );
  const exactness = (rule: PriceRule): number =>
    (rule.model === null ? 0 : 2) + (rule.provider === null ? 0 : 1);
  return matches.sort(
    (a, b) =>
      exactness(b) - exactness(a) ||
      b.effectiveFrom.getTime() - a.effectiveFrom.getTime() ||
      b.version - a.version,
  )[0];
}
