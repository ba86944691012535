import type { Rates } from './pricing';

/** What operations cost where nothing more exact is known: 0.0001 US dollars a token. Version 0 of the price book. */
export const defaultRates: Rates = {
  inputUsdPerMillion: '100',
  outputUsdPerMillion: '100',
  cachedUsdPerMillion: '100',
  requestUsd: '0',
};

/** A provider's list of prices: US dollars for a million tokens, by model. */
interface ProviderPrices {
  /** The page that says what holds. */
  readonly source: string;
  readonly usdPerMillion: Readonly<Record<string, { input: string; output: string; cached: string }>>;
}

/** Prices that the providers of `POST /generate` publish. */
export interface PublicPrices {
  /** The day of the list; a later one takes the place of an earlier one. */
  readonly asOf: string;
  readonly providers: Readonly<Record<string, ProviderPrices>>;
}

/**
 * For ordinary calls: no batches, no faster service, no region. Where a provider takes more for long prompts (Anthropic
 * of Haiku 5.5 from 100,000 tokens on, Google of Pro from 200,000, OpenAI of most models since GPT-5.4 from 272,000), it
 * is the price of the shorter ones. Introductory prices, which end soon, are left out.
 *
 * Written down from copies of the pages below and of price lists that quote them, not from the live pages: check them.
 */
export const publicPrices: PublicPrices = {
  asOf: '2026-11-22',
  providers: {
    openai: {
      source: 'https://developers.openai.com/api/docs/pricing',
      usdPerMillion: {
        'gpt-6-astra': { input: '10', output: '50', cached: '1' },
        'gpt-6.1-sol': { input: '2', output: '10', cached: '0.10' },
        'gpt-6.1-terra': { input: '1', output: '5', cached: '0.05' },
        'gpt-6-sol': { input: '2', output: '10', cached: '0.20' },
        'gpt-6-luna': { input: '0.10', output: '0.50', cached: '0.01' },
        'gpt-5.6-sol': { input: '4', output: '20', cached: '0.40' },
        'gpt-5.6-terra': { input: '2', output: '12', cached: '0.20' },
        'gpt-5.6-luna': { input: '0.20', output: '1.20', cached: '0.02' },
        'gpt-5.5': { input: '5', output: '30', cached: '0.50' },
        'gpt-5.4': { input: '2.50', output: '15', cached: '0.25' },
        'gpt-5.4-mini': { input: '0.75', output: '4.50', cached: '0.075' },
        'gpt-5.4-nano': { input: '0.20', output: '1.25', cached: '0.02' },
        'gpt-4.1': { input: '2', output: '8', cached: '0.50' },
        'gpt-4.1-mini': { input: '0.40', output: '1.60', cached: '0.10' },
        'gpt-4.1-nano': { input: '0.10', output: '0.40', cached: '0.025' },
        'gpt-4o': { input: '2.50', output: '10', cached: '1.25' },
        'gpt-4o-mini': { input: '0.15', output: '0.60', cached: '0.075' },
      },
    },
    anthropic: {
      source: 'https://platform.claude.com/docs/en/about-claude/pricing',
      usdPerMillion: {
        'claude-fable-5-1': { input: '10', output: '50', cached: '0.25' },
        'claude-opus-5-5': { input: '4', output: '20', cached: '0.20' },
        'claude-opus-5': { input: '5', output: '25', cached: '0.50' },
        'claude-opus-4-8': { input: '5', output: '25', cached: '0.50' },
        'claude-sonnet-5-5': { input: '2', output: '10', cached: '0.10' },
        'claude-sonnet-5': { input: '2', output: '10', cached: '0.20' },
        'claude-sonnet-4-6': { input: '3', output: '15', cached: '0.30' },
        'claude-haiku-5-5': { input: '0.10', output: '0.50', cached: '0.01' },
        'claude-haiku-4-5': { input: '1', output: '5', cached: '0.10' },
      },
    },
    gemini: {
      source: 'https://ai.google.dev/gemini-api/docs/pricing',
      usdPerMillion: {
        'gemini-4-hydrogen': { input: '1.50', output: '7.50', cached: '0.075' },
        'gemini-3.5-flash': { input: '1.50', output: '9', cached: '0.15' },
        'gemini-3.5-flash-lite': { input: '0.30', output: '2.50', cached: '0.03' },
        'gemini-2.5-pro': { input: '1.25', output: '10', cached: '0.125' },
        'gemini-2.5-flash': { input: '0.30', output: '2.50', cached: '0.03' },
        'gemini-2.5-flash-lite': { input: '0.10', output: '0.40', cached: '0.01' },
      },
    },
  },
};
