import { parseIdempotencyKey } from './idempotency-key-header';

describe('the header Idempotency-Key', () => {
  it.each([
    ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['"order 42"', 'order 42'],
    ['  "a"  ', 'a'],
    [String.raw`"a \"quoted\" \\ word"`, String.raw`a "quoted" \ word`],
    [`"${'k'.repeat(255)}"`, 'k'.repeat(255)],
    ['A9+/=~_.:-', 'A9+/=~_.:-'],
  ])('%s names a key', (header, key) => {
    expect(parseIdempotencyKey(header)).toBe(key);
  });

  it.each([
    '',
    '""',
    '"',
    '"a',
    'a"',
    '"a"b"',
    '"a", "b"',
    '"a";p=1',
    'two words',
    String.raw`"a\b"`,
    '"\u00fc"',
    '\u00fc',
    '"a\u0000"',
    `"${'k'.repeat(256)}"`,
    'k'.repeat(256),
    ':YWJj:é',
  ])('%p names none', (header) => {
    expect(parseIdempotencyKey(header)).toBeNull();
  });
});
