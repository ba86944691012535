import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import timers from 'node:timers/promises';
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

it('answers that a password is wrong no sooner when its hash was made with less, and that it is right at once', async () => {
  const old = await passwordsWith({ ARGON2_MEMORY_KIB: '19456' }).hash('a password');
  const passwords = passwordsWith({});
  const today = await passwords.unusableHash();
  let nowMs = 1_000;
  const takes = (ms: number): void => {
    nowMs += ms;
  };
  const verify = jest.spyOn(argon2, 'verify').mockImplementation((hash, password) => {
    takes(hash === today ? 90 : 25);
    return Promise.resolve(password === 'a password');
  });
  const waits = jest.spyOn(timers, 'setTimeout').mockImplementation((ms = 0) => {
    takes(ms);
    return Promise.resolve(undefined as never);
  });
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
  const timeOf = async (hash: string | undefined, password: string): Promise<number> => {
    const startedMs = nowMs;
    await passwords.verify(hash, password);
    return nowMs - startedMs;
  };
  // As many as are kept: what the decoy itself took is forgotten.
  for (let count = 0; count < 16; count++) expect(await timeOf(undefined, 'another one')).toBe(90);
  expect(await timeOf(old, 'another one')).toBe(90);
  expect(await timeOf(old, 'a password')).toBe(25);
  for (const spy of [verify, waits, clock]) spy.mockRestore();
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
