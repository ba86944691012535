import { parseUsd } from '../common/money';
import type { PriceRule, Rates } from './pricing';
import type { PublicPrices } from './start-up-prices';

/** What a price is for, and how much. */
export type NewPrice = Pick<PriceRule, 'operation' | 'provider' | 'model'> & Rates;

/** What the public prices are for. */
const OPERATION = 'generate';

/**
 * The prices of a list that are to be added: those that are new, or differ from what lists before it said.
 * @param earlier the prices of earlier lists, by version. A price of a later list stays: that process is out of date.
 */
export function duePrices(list: PublicPrices, earlier: readonly PriceRule[]): NewPrice[] {
  const standing = new Map(earlier.map((price) => [targetOf(price), price]));
  return pricesOf(list).filter((price) => {
    const before = standing.get(targetOf(price));
    return !before || ((before.publicAsOf ?? '') <= list.asOf && !isSame(before, price));
  });
}

function pricesOf(list: PublicPrices): NewPrice[] {
  return Object.entries(list.providers).flatMap(([provider, { usdPerMillion }]) =>
    Object.entries(usdPerMillion).map(([model, { input, output, cached }]) => ({
      operation: OPERATION,
      provider,
      model,
      inputUsdPerMillion: input,
      outputUsdPerMillion: output,
      cachedUsdPerMillion: cached,
      requestUsd: '0',
    })),
  );
}

function targetOf({ operation, provider, model }: NewPrice): string {
  return JSON.stringify([operation, provider, model]);
}

/** By value: the database writes more zeros. */
function isSame(a: Rates, b: Rates): boolean {
  return (
    parseUsd(a.inputUsdPerMillion) === parseUsd(b.inputUsdPerMillion) &&
    parseUsd(a.outputUsdPerMillion) === parseUsd(b.outputUsdPerMillion) &&
    parseUsd(a.cachedUsdPerMillion) === parseUsd(b.cachedUsdPerMillion) &&
    parseUsd(a.requestUsd) === parseUsd(b.requestUsd)
  );
}
