import { NO_CAPS } from './caps';
import { holdAllParameters, type Opening } from './open-statement';

const opening = (caps: Partial<Opening['caps']>): Opening => ({
  id: 'call',
  userId: 'user',
  apiKeyId: 'key',
  month: '2026-11-01',
  most: { tokens: 10n, costNanoUsd: 1_000_000n },
  caps: { ...NO_CAPS, ...caps },
  expiresAt: new Date(0),
});

it('asks each month for what all calls want of it, and holds it against the least of their caps', () => {
  const openings = [
    opening({ apiKeyUsd: 5_000_000n, tokens: 30n }),
    opening({ apiKeyUsd: 3_000_000n, accountUsd: 9_000_000n, tokens: 40n }),
    opening({ apiKeyUsd: 4_000_000n }),
  ];
  expect(holdAllParameters(openings).slice(0, 7)).toEqual([
    '{user,user}',
    '{user,key}',
    '{2026-11-01,2026-11-01}',
    '{30,30}',
    '{0.003000000,0.003000000}',
    '{30,NULL}',
    '{0.009000000,0.003000000}',
  ]);
});
