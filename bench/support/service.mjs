import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, freePort, start } from './processes.mjs';

const READY_LIMIT_MS = 60_000;
const POLL_MS = 5;
/** How `npm start` runs Node: with flags and variables that keep the memory small. */
const npmStart = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url))).scripts.start;
const nodeFlags = npmStart.match(/--\S+/g);
export const nodeEnv = Object.fromEntries(
  [...npmStart.matchAll(/\b([A-Z_]+)=(\S+)/g)].map(([, name, value]) => [name, value]),
);
const PASSWORD = 'correct horse battery staple 42';

/**
 * Starts the built service as `npm start` would, on the bench's database: quiet, but in development, for `echo` does
 * not exist in production.
 * @param options `script` and its `args`, to run instead of the service as it is; a `port`, and further settings, as `env`.
 * @returns the subject and the service's address, once it is ready.
 */
export async function startService({ dist, databaseUrl, directory }, options = {}) {
  const { script, args, env, port = await freePort() } = options;
  const subject = start(script ?? join(dist, 'src', 'main.js'), {
    name: 'service',
    args,
    flags: nodeFlags,
    cwd: directory,
    env: {
      ...nodeEnv,
      PORT: String(port),
      DATABASE_URL: databaseUrl,
      DATA_DIR: directory,
      LOG_LEVEL: 'warn',
      // So that every log-in of the bench may come from an address of its own.
      TRUST_PROXY: 'loopback',
      ...env,
    },
  });
  const url = `http://127.0.0.1:${port}`;
  await Promise.race([untilReady(url), failure(subject)]);
  return { subject, url };
}

/**
 * Signs up a user of a plan, by default `internal`, which has no quota, and makes him a key with the greatest rate limit.
 * @param database a connected pg client.
 * @returns his id, his log-in, its access token, his key, and his password's hash.
 */
export async function makeCaller(url, database, name = 'bench', tier = 'internal') {
  const credentials = { email: `${name}@example.com`, password: PASSWORD };
  await post(`${url}/api/v1/auth/register`, credentials);
  const { rows } = await database.query(
    `UPDATE users SET tier_override = $2 WHERE email = $1 RETURNING id AS "userId", password_hash AS "passwordHash"`,
    [credentials.email, tier],
  );
  const { access_token: token } = await post(`${url}/api/v1/auth/login`, credentials);
  const wanted = { name, rate_limit_per_minute: tier === 'internal' ? 2_147_483_647 : 100_000 };
  return { ...rows[0], credentials, token, apiKey: await makeKey(url, token, wanted) };
}

/** Makes a key for whom an access token is, with these settings. @returns the key. */
export async function makeKey(url, token, settings) {
  const made = await post(`${url}/api/v1/auth/api-keys`, settings, { authorization: `Bearer ${token}` });
  return made.api_key;
}

/** Makes more keys, like the one that a caller has. @returns the keys. */
export async function makeMoreKeys({ dist, database }, { userId }, count) {
  const { generateApiKey } = await import(pathToFileURL(join(dist, 'src/api-keys/api-key-secret.js')).href);
  const made = Array.from({ length: count }, () => generateApiKey('live'));
  await database.query(
    `WITH made AS (SELECT gen_random_uuid() AS key_id, * FROM unnest($2::text[], $3::text[]) AS secret (hash, prefix)),
     copied AS (
       INSERT INTO api_keys
       SELECT (jsonb_populate_record(key, jsonb_build_object('id', key_id))).*
       FROM made, api_keys AS key WHERE key.id = (SELECT min(id::text)::uuid FROM api_keys WHERE user_id = $1))
     INSERT INTO api_key_versions (id, api_key_id, key_hash, key_prefix, created_at)
     SELECT gen_random_uuid(), key_id, hash, prefix, now() FROM made`,
    [userId, made.map(({ hash }) => hash), made.map(({ prefix }) => prefix)],
  );
  return made.map(({ key }) => key);
}

/** The metered call that is measured, as options of the load generator; the same for the service and its floor. */
export function generateCall(url, apiKey) {
  return {
    url: `${url}/api/v1/generate`,
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': apiKey },
    body: JSON.stringify({
      user_id: 'customer-42',
      prompt: 'Write one sentence about the sea.',
      provider: 'echo',
    }),
  };
}

/** A log-in with the right password, as options of the load generator: each from an address of its own. */
export function loginCall(url, credentials) {
  return {
    url: `${url}/api/v1/auth/login`,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(credentials),
    rotateAddresses: true,
  };
}

/**
 * Runs `npm start` on an embedded database in `directory` until it is ready, and ends it.
 * @returns the time that took, in milliseconds.
 */
export async function timeToReady(root, directory) {
  const port = await freePort();
  const startedAtMs = performance.now();
  const npm = spawn('npm', ['start'], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: String(port),
      DATA_DIR: directory,
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
    // A group of its own: npm need not pass a signal on.
    detached: true,
  });
  const exit = once(npm, 'exit');
  const endGroup = (signal) => {
    if (npm.exitCode === null && npm.signalCode === null) process.kill(-npm.pid, signal);
  };
  const killGroup = () => endGroup('SIGKILL');
  process.once('exit', killGroup);
  try {
    const ended = exit.then(([code]) => Promise.reject(new Error(`npm start ended: ${code}`)));
    ended.catch(() => undefined);
    await Promise.race([untilReady(`http://127.0.0.1:${port}`), ended]);
    return performance.now() - startedAtMs;
  } finally {
    endGroup('SIGTERM');
    await exit;
    process.removeListener('exit', killGroup);
  }
}

async function untilReady(url) {
  const deadlineMs = performance.now() + READY_LIMIT_MS;
  while (performance.now() < deadlineMs) {
    const response = await fetch(`${url}/health/ready`).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok) return;
    await sleep(POLL_MS);
  }
  throw new Error(`${url} is not ready after ${READY_LIMIT_MS / 1000} s.`);
}

async function post(url, body, headers = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`);
  return JSON.parse(text);
}
