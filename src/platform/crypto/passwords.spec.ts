import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
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

it('finds a hash weak that was made with less than the settings ask', async () => {
  const hash = await passwordsWith({}).hash('a password');
  expect(passwordsWith({}).needsRehash(hash)).toBe(false);
  expect(passwordsWith({ ARGON2_TIME_COST: '3' }).needsRehash(hash)).toBe(true);
});

const itOnLinux = process.platform === 'linux' ? it : it.skip;

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
