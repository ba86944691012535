import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import argon2 from 'argon2';
import { parseEnv } from '../../config/env';
import { Passwords } from './passwords';

const secrets = { JWT_SECRET_KEY: 'j'.repeat(48), SECRET_KEY: 's'.repeat(48) };
const passwordsWith = (settings: Record<string, string>): Passwords =>
  new Passwords(parseEnv({ NODE_ENV: 'test', ...settings }, () => secrets));

it('hashes with argon2id, 46 MiB and two passes unless the settings ask for something else, but never for less than OWASP does', async () => {
  expect(await passwordsWith({}).hash('a password')).toMatch(/^\$argon2id\$v=19\$m=47104,p=1,t=2\$/);
  const least = passwordsWith({ ARGON2_MEMORY_KIB: '19456' });
  expect(await least.hash('a password')).toMatch(/^\$argon2id\$v=19\$m=19456,p=1,t=2\$/);
  expect(() => passwordsWith({ ARGON2_MEMORY_KIB: '19455' })).toThrow(/ARGON2_MEMORY_KIB must be/);
});

it('finds a hash to be replaced that was made with other settings', async () => {
  const hash = await passwordsWith({}).hash('a password');
  expect(passwordsWith({}).needsRehash(hash)).toBe(false);
  expect(passwordsWith({ ARGON2_TIME_COST: '3' }).needsRehash(hash)).toBe(true);
});

it('works as long for a wrong password when the hash was made with less, and not longer for the right one', async () => {
  const old = await passwordsWith({ ARGON2_MEMORY_KIB: '19456' }).hash('a password');
  const passwords = passwordsWith({ ARGON2_TIME_COST: '3' });
  await passwords.unusableHash();
  const hash = jest.spyOn(argon2, 'hash');
  expect(await passwords.verify(old, 'a password')).toBe(true);
  expect(hash).not.toHaveBeenCalled();
  expect(await passwords.verify(old, 'another one')).toBe(false);
  // 46 MiB three times are 19 MiB twice and this three times.
  const { memoryCost, timeCost } = hash.mock.calls[0]?.[1] ?? {};
  expect({ memoryCost, timeCost }).toEqual({ memoryCost: 34_133, timeCost: 3 });
  expect(await passwords.verify(await passwords.hash('a password'), 'another one')).toBe(false);
  expect(hash).toHaveBeenCalledTimes(2);
  hash.mockRestore();
});

const [major = 0] = process.versions.node.split('.').map(Number);
const itOnLinux = process.platform === 'linux' && major >= 24 ? it : it.skip;

itOnLinux('hashes on threads that give way to the one that answers', async () => {
  await passwordsWith({}).unusableHash();
  const pool = readdirSync('/proc/self/task').filter(
    (thread) => readFileSync(`/proc/self/task/${thread}/comm`, 'utf8') === 'libuv-worker\n',
  );
  const priorities = pool.map((thread) => getPriority(Number(thread)));
  expect(priorities.length).toBeGreaterThan(0);
  expect(new Set(priorities)).toEqual(new Set([10]));
  expect(getPriority(process.pid)).toBeLessThan(10);
});
