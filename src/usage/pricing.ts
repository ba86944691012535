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
  /** The day of the list of public prices that it comes from; null: an admin set it. */
  readonly publicAsOf: string | null;
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
 * The rules with the one that counts first: what an admin has set before public prices, then the most exact one (a model
 * counts more than a provider), of several the one that came into force last.
 */
export function byPrecedence<Rule extends PriceRule>(rules: readonly Rule[]): Rule[] {
  const own = ({ publicAsOf }: PriceRule): number => (publicAsOf === null ? 1 : 0);
  const exactness = ({ model, provider }: PriceRule): number =>
    (model === null ? 0 : 2) + (provider === null ? 0 : 1);
  return [...rules].sort(
    (a, b) =>
      own(b) - own(a) ||
      exactness(b) - exactness(a) ||
      b.effectiveFrom.getTime() - a.effectiveFrom.getTime() ||
      b.version - a.version,
  );
}

/** The rule that is in force for a call at a time, of rules {@link byPrecedence}. */
export function ruleInForce(
  rules: readonly PriceRule[],
  operation: string,
  { provider, model }: Pick<Consumption, 'provider' | 'model'>,
  at: Date,
): PriceRule | undefined {
  return rules.find(
    (rule) =>
      rule.operation === operation &&
      (rule.provider === null || rule.provider === provider) &&
      (rule.model === null || rule.model === model) &&
      rule.effectiveFrom <= at,
  );
}
