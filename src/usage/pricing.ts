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

/** {@link Rates} as they are computed with: nano-dollars of a million tokens, and of a request. */
export interface ExactRates {
  readonly input: NanoUsd;
  readonly output: NanoUsd;
  readonly cached: NanoUsd;
  readonly request: NanoUsd;
}

const MILLION = 1_000_000n;

export function exactRates(rates: Rates): ExactRates {
  return {
    input: parseUsd(rates.inputUsdPerMillion),
    output: parseUsd(rates.outputUsdPerMillion),
    cached: parseUsd(rates.cachedUsdPerMillion),
    request: parseUsd(rates.requestUsd),
  };
}

/** The exact cost of a call, rounded half up to a nano-dollar. */
export function costOf(
  rates: ExactRates,
  { inputTokens, outputTokens, cachedTokens = 0 }: Omit<Consumption, 'provider' | 'model'>,
): NanoUsd {
  const perMillion =
    BigInt(inputTokens - cachedTokens) * rates.input +
    BigInt(cachedTokens) * rates.cached +
    BigInt(outputTokens) * rates.output;
  return (perMillion + MILLION / 2n) / MILLION + rates.request;
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
export function ruleInForce<Rule extends PriceRule>(
  rules: readonly Rule[],
  operation: string,
  { provider, model }: Pick<Consumption, 'provider' | 'model'>,
  at: Date,
): Rule | undefined {
  return rules.find(
    (rule) =>
      rule.operation === operation &&
      (rule.provider === null || rule.provider === provider) &&
      (rule.model === null || rule.model === model) &&
      rule.effectiveFrom <= at,
  );
}
