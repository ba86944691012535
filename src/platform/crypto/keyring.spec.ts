import { Keyring } from './keyring';

const SECRET_KEY = 's'.repeat(40);
const keyring = (...ENCRYPTION_KEYS: string[]): Keyring => new Keyring({ ENCRYPTION_KEYS, SECRET_KEY });

it('opens what it sealed, and not for another owner (11.3.3)', () => {
  const sealed = keyring().seal('a secret', 'owner');
  expect(keyring().open(sealed, 'owner')).toBe('a secret');
  expect(() => keyring().open(sealed, 'other')).toThrow();
});

it('seals under the first key and opens under each, SECRET_KEY included, and not without the key', () => {
  const [first, second] = ['1'.repeat(40), '2'.repeat(40)];
  const bySecretKey = keyring().seal('a secret', 'owner');
  const byFirst = keyring(first).seal('a secret', 'owner');
  const bySecond = keyring(second, first).seal('a secret', 'owner');
  expect(new Set([bySecretKey.keyId, byFirst.keyId, bySecond.keyId]).size).toBe(3);
  for (const sealed of [bySecretKey, byFirst, bySecond])
    expect(keyring(first, second).open(sealed, 'owner')).toBe('a secret');
  expect(() => keyring(second).open(byFirst, 'owner')).toThrow('Nothing among the settings opens');
  // A former SECRET_KEY goes on to open when it is put among the keys.
  const moved = new Keyring({ ENCRYPTION_KEYS: [first, SECRET_KEY], SECRET_KEY: 'n'.repeat(40) });
  expect(moved.open(bySecretKey, 'owner')).toBe('a secret');
});
