import fc from 'fast-check';
import { formatUsd, parseUsd } from '../common/money';
import { byPrecedence, costOf, exactRates, type PriceRule, type Rates, ruleInForce } from './pricing';
import { defaultRates } from './start-up-prices';

const micros = fc.bigInt({ min: 0n, max: 10n ** 12n });
/** A decimal string with six decimals. */
const usd = micros.map((n) => formatUsd(n * 1_000n).slice(0, -3));
const rates: fc.Arbitrary<Rates> = fc.record({
  inputUsdPerMillion: usd,
  outputUsdPerMillion: usd,
  cachedUsdPerMillion: usd,
  requestUsd: usd,
});
const tokens = fc.nat(2_147_483_647);

it('is 0.0001 dollars a token where nothing is set', () => {
  expect(costOf(exactRates(defaultRates), { inputTokens: 6, outputTokens: 6, cachedTokens: 3 })).toBe(
    1_200_000n,
  );
});

it('is exact to half a nano-dollar, against a model in millionths of a nano-dollar', () => {
  fc.assert(
    fc.property(rates, tokens, tokens, tokens, (price, uncached, cachedTokens, outputTokens) => {
      const cost = costOf(exactRates(price), {
        inputTokens: uncached + cachedTokens,
        outputTokens,
        cachedTokens,
      });
      const exact =
        BigInt(uncached) * parseUsd(price.inputUsdPerMillion) +
        BigInt(cachedTokens) * parseUsd(price.cachedUsdPerMillion) +
        BigInt(outputTokens) * parseUsd(price.outputUsdPerMillion) +
        parseUsd(price.requestUsd) * 1_000_000n;
      const difference = cost * 1_000_000n - exact;
      expect(difference > -500_000n && difference <= 500_000n).toBe(true);
    }),
  );
});

it('never grows smaller when more is consumed', () => {
  fc.assert(
    fc.property(rates, tokens, tokens, fc.nat(1_000), (price, inputTokens, outputTokens, more) => {
      const less = costOf(exactRates(price), { inputTokens, outputTokens });
      expect(costOf(exactRates(price), { inputTokens: inputTokens + more, outputTokens }) >= less).toBe(true);
      expect(costOf(exactRates(price), { inputTokens, outputTokens: outputTokens + more }) >= less).toBe(
        true,
      );
    }),
  );
});

describe('the rule in force', () => {
  const rule = (version: number, fields: Partial<PriceRule> = {}): PriceRule => ({
    ...defaultRates,
    version,
    operation: 'generate',
    provider: null,
    model: null,
    effectiveFrom: new Date('2026-01-01T00:00:00Z'),
    publicAsOf: null,
    ...fields,
  });
  const call = { provider: 'openai', model: 'm' };
  const at = new Date('2026-06-01T00:00:00Z');
  const inForce = (rules: PriceRule[], time = at): number | undefined =>
    ruleInForce(byPrecedence(rules), 'generate', call, time)?.version;

  it.each<[string, PriceRule[], number | undefined]>([
    [
      'is none where none matches',
      [rule(1, { operation: 'other' }), rule(2, { provider: 'gemini' })],
      undefined,
    ],
    ['is that of the provider before the general one', [rule(2), rule(1, { provider: 'openai' })], 1],
    [
      'is that of the model before that of the provider',
      [rule(2, { provider: 'openai' }), rule(1, { model: 'm' })],
      1,
    ],
    [
      'is that of both before that of one',
      [rule(2, { model: 'm' }), rule(1, { provider: 'openai', model: 'm' })],
      1,
    ],
    ['is not one to come', [rule(1), rule(2, { effectiveFrom: new Date('2026-06-01T00:00:00.001Z') })], 1],
    ['is the one that came last', [rule(2), rule(1, { effectiveFrom: at })], 1],
    [
      "is an admin's, however general, before a public one",
      [rule(2, { provider: 'openai', model: 'm', publicAsOf: '2026-01-01' }), rule(1)],
      1,
    ],
    [
      "is a public one while an admin's is still to come",
      [rule(1, { publicAsOf: '2026-01-01' }), rule(2, { effectiveFrom: new Date('2026-07-01T00:00:00Z') })],
      1,
    ],
    ['is the later version of two from the same moment', [rule(1), rule(2)], 2],
  ])('%s', (_what, rules, version) => {
    expect(inForce(rules)).toBe(version);
    expect(inForce([...rules].reverse())).toBe(version);
  });
});
