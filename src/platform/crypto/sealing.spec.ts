import { randomBytes } from 'node:crypto';
import { seal, unseal } from './sealing';

describe('sealing', () => {
  const key = randomBytes(32);
  const place = Buffer.from('here');

  it.each(['', 'a text', '\u00fc\u{1f600}'.repeat(1_000)])('gives back what was sealed', (text) => {
    expect(unseal(key, seal(key, text, place), place)).toBe(text);
  });

  it('shows nothing of the text, and never looks the same twice', () => {
    const sealed = seal(key, 'a text', place);
    expect(sealed.includes('a text')).toBe(false);
    expect(sealed.equals(seal(key, 'a text', place))).toBe(false);
  });

  it('does not open with another key, in another place or with any byte changed', () => {
    const sealed = seal(key, 'a text', place);
    expect(() => unseal(randomBytes(32), sealed, place)).toThrow();
    expect(() => unseal(key, sealed, Buffer.from('there'))).toThrow();
    for (let i = 0; i < sealed.length; i++) {
      const changed = Buffer.from(sealed);
      changed[i] = (changed[i] ?? 0) ^ 1;
      expect(() => unseal(key, changed, place)).toThrow();
    }
    expect(() => unseal(key, sealed.subarray(0, 20), place)).toThrow();
  });
});
