import { UsageErrors } from './usage.errors';
import { fittingTogether } from './fitting-together';
import type { Opening, OpenRow } from './open-statement';

const CAP = 100n;

/** A call of a key of the account `u`, which is limited to 100 tokens and each key to 100 nano-USD. */
const opening = (apiKeyId: string | null, costNanoUsd: bigint, tokens = 1n): Opening => ({
  id: `${apiKeyId} ${costNanoUsd} ${tokens}`,
  userId: 'u',
  apiKeyId,
  month: '2026-11-01',
  most: { tokens, costNanoUsd },
  caps: { apiKeyUsd: apiKeyId === null ? null : CAP, accountUsd: null, tokens: CAP },
  expiresAt: new Date(0),
});

const row = (fields: Partial<OpenRow> = {}): OpenRow => ({
  is_known: true,
  is_granted: false,
  tokens_settled: '0',
  tokens_held: '0',
  account_settled: '0',
  account_held: '0',
  key_settled: '0',
  key_held: '0',
  ...fields,
});

describe('what fits together', () => {
  it('fits beside what was granted and beside those before it, key by key', () => {
    const granted = opening('a', 10n);
    const [large, medium, other, small] = [
      opening('a', 95n),
      opening('a', 80n),
      opening('b', 95n),
      opening('a', 10n),
    ];
    const late = opening('a', 1n);
    const all = [granted, large, medium, other, small, late];
    const found = fittingTogether(
      all,
      all.map(() => row()),
      new Map([[granted, null]]),
    );
    expect(found).toEqual([medium, other, small]);
  });

  it('counts what is settled and held already, and tokens over all keys of the account', () => {
    const all = [opening('a', 1n, 50n), opening('b', 1n, 30n), opening(null, 1n, 20n), opening('b', 1n, 10n)];
    const rows = all.map(() => row({ tokens_settled: '20', tokens_held: '10' }));
    expect(fittingTogether(all, rows, new Map())).toEqual([all[0], all[2]]);
  });

  it('leaves out what is decided, and what nothing was read about', () => {
    const [refused, unknown, open] = [opening('a', 1n), opening('b', 1n), opening('a', 2n)];
    const verdicts = new Map([[refused, UsageErrors.ledgerBusy()]]);
    const rows = [row(), row({ is_known: false }), row()];
    expect(fittingTogether([refused, unknown, open], rows, verdicts)).toEqual([open]);
  });
});
