import { generateApiKey, hashApiKey, isWellFormedApiKey } from './api-key-secret';

describe('API key secret', () => {
  it('has the published form, a shown prefix and a hash that is not the key', () => {
    const { key, hash, prefix } = generateApiKey('live');
    expect(key).toMatch(/^ctx_live_[0-9A-Za-z]{36}$/);
    expect(generateApiKey('test').key).toMatch(/^ctx_test_[0-9A-Za-z]{36}$/);
    expect(prefix).toBe(key.slice(0, 13));
    expect(hash).toBe(hashApiKey(key));
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is well-formed as made', () => {
    for (let i = 0; i < 1_000; i++) expect(isWellFormedApiKey(generateApiKey('live').key)).toBe(true);
  });

  it('never repeats', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => generateApiKey('live').key)).size).toBe(10_000);
  });

  it('does not survive the change of any one character', () => {
    const { key } = generateApiKey('live');
    for (let i = 0; i < key.length; i++) {
      const other = key[i] === 'x' ? 'y' : 'x';
      expect(isWellFormedApiKey(key.slice(0, i) + other + key.slice(i + 1))).toBe(false);
    }
  });

  it.each([
    '',
    'ctx_live_',
    'ctx_live_short',
    `ctx_live_${'0'.repeat(37)}`,
    `ctx_prod_${'0'.repeat(36)}`,
    'eyJhbGciOiJIUzI1NiJ9.e30.x',
  ])('refuses %p', (text) => {
    expect(isWellFormedApiKey(text)).toBe(false);
  });
});
