import type { Rates } from './pricing';

/**
 * What operations cost where no admin has set a price: 0.0001 US dollars a token, whoever answers. These are version 0
 * of the price book; `POST /admin/prices` adds exact ones for a provider or a model.
 */
export const startUpPrices: Rates = {
  inputUsdPerMillion: '100',
  outputUsdPerMillion: '100',
  cachedUsdPerMillion: '100',
  requestUsd: '0',
};
