import {
  alertPercentage,
  capInTheWay,
  type Caps,
  monthOf,
  nextMonth,
  shortUsd,
  type Standings,
} from './caps';

const none: Caps = { apiKeyUsd: null, accountUsd: null, tokens: null };
const standing = (settled: bigint, held: bigint): Standings['tokens'] => ({ settled, held });
const now: Standings = {
  apiKeyUsd: standing(60n, 30n),
  accountUsd: standing(600n, 300n),
  tokens: standing(6_000n, 3_000n),
};

it.each<[string, Partial<Caps>, string | null]>([
  ['fits under no cap at all', {}, null],
  ['fits when it fills each cap to the last', { apiKeyUsd: 100n, accountUsd: 910n, tokens: 9_007n }, null],
  ['is refused by the budget of the key first', { apiKeyUsd: 99n, accountUsd: 0n, tokens: 0n }, 'apiKeyUsd'],
  [
    'is refused by the budget of the account next',
    { apiKeyUsd: 100n, accountUsd: 909n, tokens: 0n },
    'accountUsd',
  ],
  ['is refused by the tokens of the plan', { tokens: 9_006n }, 'tokens'],
])('a call %s', (_what, caps, expected) => {
  expect(capInTheWay({ ...none, ...caps }, { tokens: 7n, costNanoUsd: 10n }, now)).toBe(expected);
});

it.each([
  [0n, 100n, 0],
  [49n, 100n, 0],
  [50n, 100n, 50],
  [799_999n, 1_000_000n, 50],
  [80n, 100n, 80],
  [99n, 100n, 80],
  [100n, 100n, 100],
  [10n ** 30n, 1n, 100],
  [0n, 0n, 100],
])('%d of %d passes the mark %d', (used, cap, mark) => {
  expect(alertPercentage(used, cap)).toBe(mark);
});

it('knows months in UTC, over the end of a year too', () => {
  expect(monthOf(new Date('2026-12-31T23:59:59.999Z'))).toBe('2026-12-01');
  expect(nextMonth('2026-12-01')).toBe('2027-01-01');
  expect(nextMonth('2026-02-01')).toBe('2026-03-01');
});

it('writes dollars with as many decimals as it takes', () => {
  expect([5_000_000_000n, 1_200_000n, 1n, 0n].map(shortUsd)).toEqual([
    '5.00',
    '0.0012',
    '0.000000001',
    '0.00',
  ]);
});
