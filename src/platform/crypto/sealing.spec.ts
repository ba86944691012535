import { Sealing } from './sealing';

const SECRET_KEY = 's'.repeat(40);
const sealing = (...ENCRYPTION_KEYS: string[]): Sealing => new Sealing({ ENCRYPTION_KEYS, SECRET_KEY });
const plain = Buffer.from('a shared secret');

it('opens what it sealed, and seals the same text differently each time', () => {
  const sealed = sealing().seal(plain, 'owner');
  expect(sealing().open(sealed, 'owner')).toEqual(plain);
  const all = Array.from({ length: 100 }, () => sealing().seal(plain, 'owner').sealed.toString('hex'));
  expect(new Set(all.map((text) => text.slice(0, 24))).size).toBe(100);
  expect(all.filter((text) => text.includes(plain.toString('hex')))).toEqual([]);
});

it('does not open for another owner, nor when a bit was changed (11.3.3)', () => {
  const { keyId, sealed } = sealing().seal(plain, 'owner');
  expect(() => sealing().open({ keyId, sealed }, 'other')).toThrow();
  for (let i = 0; i < sealed.length; i++) {
    const changed = Buffer.from(sealed);
    changed[i] = (changed[i] ?? 0) ^ 1;
    expect(() => sealing().open({ keyId, sealed: changed }, 'owner')).toThrow();
  }
  for (const length of [0, 11, 12, 27, sealed.length - 1]) {
    expect(() => sealing().open({ keyId, sealed: sealed.subarray(0, length) }, 'owner')).toThrow();
  }
});

it('seals under the first key and opens under each, SECRET_KEY included, and not without the key', () => {
  const [first, second] = ['1'.repeat(40), '2'.repeat(40)];
  const bySecretKey = sealing().seal(plain, 'owner');
  const byFirst = sealing(first).seal(plain, 'owner');
  const bySecond = sealing(second, first).seal(plain, 'owner');
  expect(new Set([bySecretKey.keyId, byFirst.keyId, bySecond.keyId]).size).toBe(3);
  for (const sealed of [bySecretKey, byFirst, bySecond])
    expect(sealing(first, second).open(sealed, 'owner')).toEqual(plain);
  expect(() => sealing(second).open(byFirst, 'owner')).toThrow('Nothing among the settings opens');
  // The old SECRET_KEY goes on to open when it is put among the keys.
  const moved = new Sealing({ ENCRYPTION_KEYS: [first, SECRET_KEY], SECRET_KEY: 'n'.repeat(40) });
  expect(moved.open(bySecretKey, 'owner')).toEqual(plain);
});
