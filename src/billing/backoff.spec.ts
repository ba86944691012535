import { backoffMs } from './backoff';

describe('waiting between tries', () => {
  it('begins at a second, is at most five for ten tries, then grows to fifteen minutes', () => {
    expect(backoffMs(1)).toBe(1_000);
    for (let attempts = 1; attempts <= 10; attempts++) expect(backoffMs(attempts)).toBeLessThanOrEqual(5_000);
    expect(backoffMs(11)).toBeGreaterThanOrEqual(8_000);
    for (const attempts of [18, 100, 1_000_000]) {
      expect(backoffMs(attempts)).toBeGreaterThanOrEqual(720_000);
      expect(backoffMs(attempts)).toBeLessThanOrEqual(900_000);
    }
  });
});
