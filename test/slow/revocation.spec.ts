import { randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { openEmbeddedPostgres, type VisitedPostgres } from '../../src/platform/database/embedded-postgres';
import { describeWithRedis, RedisServer } from '../system/support/redis-server';
import { buildService, freePort, ServiceProcess } from '../system/support/service-process';

/** Of each kind of change; set REVOCATION_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['REVOCATION_ROUNDS'] ?? '1', 10));
const CONNECTIONS = 8;
const BEFORE_MS = 300;
const AFTER_MS = 1_300;
const PROMISED_MS = 1_000;
const PASSWORD = 'correct horse battery staple';

jest.setTimeout(120_000 + rounds * 30_000);

interface Call {
  readonly sentMs: number;
  readonly status: number;
}

/** Two processes on one database: what one of them changes, the other one believes for a second at most. */
function describeChanges(hasRedis: boolean): void {
  const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-revocation-'));
  let a: ServiceProcess;
  let b: ServiceProcess;
  let postgres: VisitedPostgres | undefined;
  let database: Client | undefined;
  let redis: RedisServer | undefined;

  beforeAll(async () => {
    chmodSync(directory, 0o755);
    buildService();
    redis = hasRedis ? await RedisServer.start() : undefined;
    const settings = { TRUST_PROXY: 'loopback', ...(redis && { REDIS_URL: redis.url }) };
    a = new ServiceProcess(directory, await freePort(), settings);
    await a.start();
    postgres = await openEmbeddedPostgres(directory);
    b = new ServiceProcess(directory, await freePort(), { ...settings, DATABASE_URL: postgres.url });
    await b.start();
    database = new Client(postgres.url);
    await database.connect();
  });
  afterAll(async () => {
    await database?.end();
    await b.kill();
    await postgres?.close();
    await a.end();
    await redis?.end();
    rmSync(directory, { recursive: true, force: true });
  });

  it.each<[string, (owner: Owner) => Promise<void>, number]>([
    ['its end', (owner) => send('DELETE', `auth/api-keys/${owner.keyId}`, owner.token), 401],
    [
      'its permissions',
      (owner) => send('PATCH', `auth/api-keys/${owner.keyId}`, owner.token, { permissions: { read: true } }),
      403,
    ],
    ['the suspension of its owner', (owner) => suspend(owner.id), 401],
  ])(
    'such as %s holds at once where it is made, and within a second elsewhere',
    async (what, change, refusal) => {
      let latestMs = 0;
      for (let round = 0; round < rounds; round++) {
        const owner = await signUp(`${what.replaceAll(' ', '-')}-${round}@example.com`);
        let isOver = false;
        const load = (url: string): Promise<Call[]> => callUntil(url, owner.key, () => isOver);
        const calls = Promise.all([load(a.url), load(b.url)]);
        await sleep(BEFORE_MS);
        await change(owner);
        const doneMs = performance.now();
        await sleep(AFTER_MS);
        isOver = true;
        const [onA, onB] = await calls;

        for (const seen of [onA, onB]) {
          expect(
            seen.filter(({ sentMs, status }) => sentMs < doneMs && status === 200).length,
          ).toBeGreaterThan(0);
          expect(seen.filter(({ status }) => status !== 200 && status !== refusal)).toEqual([]);
        }
        expect(onA.filter(({ sentMs, status }) => sentMs > doneMs && status === 200)).toEqual([]);
        const last = Math.max(...onB.filter(({ status }) => status === 200).map(({ sentMs }) => sentMs));
        latestMs = Math.max(latestMs, last - doneMs);
        expect(last - doneMs).toBeLessThanOrEqual(PROMISED_MS);
      }
      process.stdout.write(
        `${what}, ${hasRedis ? 'with' : 'without'} Redis: ${rounds} rounds, last success elsewhere ${Math.round(latestMs)} ms after the change, 0 where it was made\n`,
      );
    },
  );

  interface Owner {
    readonly id: string;
    readonly token: string;
    readonly key: string;
    readonly keyId: string;
  }

  async function signUp(email: string): Promise<Owner> {
    const { id } = await request<{ id: string }>('POST', 'auth/register', undefined, {
      email,
      password: PASSWORD,
    });
    await database?.query(`UPDATE users SET tier_override = 'internal' WHERE id = $1`, [id]);
    const token = await logIn(email);
    const made = await request<{ api_key: string; api_key_info: { id: string } }>(
      'POST',
      'auth/api-keys',
      token,
      {
        name: 'load',
        rate_limit_per_minute: 1_000_000,
      },
    );
    return { id, token, key: made.api_key, keyId: made.api_key_info.id };
  }

  async function logIn(email: string): Promise<string> {
    const body = { email, password: PASSWORD };
    return (await request<{ access_token: string }>('POST', 'auth/login', undefined, body)).access_token;
  }

  let adminToken: string | undefined;
  async function suspend(userId: string): Promise<void> {
    await send('POST', `admin/users/${userId}/suspend`, adminToken);
  }

  beforeAll(async () => {
    const email = 'admin@example.com';
    await request('POST', 'auth/register', undefined, { email, password: PASSWORD });
    await database?.query(`UPDATE users SET role = 'admin' WHERE email = $1`, [email]);
    adminToken = await logIn(email);
  });

  async function send(method: string, path: string, token?: string, body?: object): Promise<void> {
    await request(method, path, token, body);
  }

  async function request<T>(method: string, path: string, token?: string, body?: object): Promise<T> {
    const response = await fetch(`${a.url}/api/v1/${path}`, {
      method,
      headers: {
        ...fromAnywhere(),
        ...(body && { 'content-type': 'application/json' }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
    return JSON.parse(text) as T;
  }
}

describe('a change to a key', () => {
  describeChanges(false);
});

describeWithRedis('a change to a key, while limits are shared through Redis,', () => {
  describeChanges(true);
});

/** Another address each time, for there are limits per address. */
function fromAnywhere(): Record<string, string> {
  return { 'x-forwarded-for': `10.${randomInt(256)}.${randomInt(256)}.${randomInt(256)}` };
}

/** Calls over several connections until it is over. */
async function callUntil(url: string, key: string, isOver: () => boolean): Promise<Call[]> {
  const calls: Call[] = [];
  const body = JSON.stringify({ user_id: 'u', prompt: 'hi', provider: 'echo' });
  const headers = { 'content-type': 'application/json', 'x-api-key': key };
  const connection = async (): Promise<void> => {
    while (!isOver()) {
      const sentMs = performance.now();
      const sent = { method: 'POST', headers: { ...headers, ...fromAnywhere() }, body };
      const answer = await fetch(`${url}/api/v1/generate`, sent);
      await answer.arrayBuffer();
      calls.push({ sentMs, status: answer.status });
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
  return calls;
}
