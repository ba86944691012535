import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/database/embedded-postgres';
import {
  excesses,
  type LimitedCall,
  send,
  type Span,
  SteadyClient,
  wrongRefusals,
} from '../system/support/limited-calls';
import { describeWithRedis, RedisServer } from '../system/support/redis-server';
import { buildService, freePort, ServiceProcess, until } from '../system/support/service-process';

/** Set LIMIT_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['LIMIT_ROUNDS'] ?? '2', 10));
const WINDOW_MS = 1_000;
const LIMIT = 20;
const LIMIT_MS = 60_000;
/** Of the exactness tests: a busy machine must not look like a failing Redis. */
const PATIENT = { REDIS_TIMEOUT_MS: '5000' };

jest.setTimeout(LIMIT_MS * (rounds + 3));

let directory: string;
let postgres: EmbeddedPostgres;
let database: Client;
let agent: Agent;
const started: ServiceProcess[] = [];
let ownerUrl: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cortex-auth-shared-'));
  chmodSync(directory, 0o755);
  buildService();
  postgres = await startEmbeddedPostgres(join(directory, 'postgres'), { durable: false });
  database = new Client(postgres.url);
  await database.connect();
  agent = new Agent({ keepAlive: true });
});

afterAll(async () => {
  agent.destroy();
  await Promise.all(started.map((service) => service.end()));
  await database.end();
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Starts the service so many times, with the window of a key's own limit a second long. */
async function startServices(count: number, settings: Record<string, string>): Promise<ServiceProcess[]> {
  const script = join(__dirname, '..', 'system', 'support', 'short-windows.mjs');
  const home = join(directory, 'home');
  mkdirSync(home, { recursive: true });
  const services: ServiceProcess[] = [];
  for (let n = 0; n < count; n++) {
    const shared = { DATABASE_URL: postgres.url, SHORT_WINDOW_SECONDS: '1', ...settings };
    const service = new ServiceProcess(home, await freePort(), shared, script);
    services.push(service);
    started.push(service);
    await service.start();
  }
  ownerUrl = services[0]?.url ?? '';
  await until(() => areAll(services, 'up'), LIMIT_MS);
  return services;
}

/** How Redis is, as `/health/ready` says; without one it is never away. */
async function healthOf({ url }: ServiceProcess): Promise<{ status: string; code: number }> {
  const response = await fetch(`${url}/health/ready`);
  const { components } = (await response.json()) as { components: { redis?: { status: string } } };
  return { status: components.redis?.status ?? 'up', code: response.status };
}

async function areAll(services: readonly ServiceProcess[], status: string): Promise<boolean> {
  const all = await Promise.all(services.map(healthOf));
  return all.every((health) => health.status === status);
}

/** A new key with the limit under test. */
async function newKey(): Promise<string> {
  const credentials = {
    email: `user-${performance.now()}@example.com`,
    password: 'correct horse battery staple',
  };
  await post('auth/register', credentials);
  const { access_token: token } = await post<{ access_token: string }>('auth/login', credentials);
  const wanted = { name: 'limited', rate_limit_per_minute: LIMIT };
  return (await post<{ api_key: string }>('auth/api-keys', wanted, token)).api_key;
}

async function post<T>(path: string, body: object, token?: string): Promise<T> {
  const response = await fetch(`${ownerUrl}/api/v1/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} was answered with ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

function urlsOf(services: readonly ServiceProcess[]): string[] {
  return services.map(({ url }) => url);
}

/** Ten times the limit at once, evenly over the processes. */
function burst(urls: readonly string[], key: string): Promise<LimitedCall[]> {
  return Promise.all(
    Array.from({ length: 10 * LIMIT }, (_, i) => send(agent, urls[i % urls.length] ?? '', key)),
  );
}

/**
 * Bursts, each as soon as the window of the one before is over. Exactly the limit passes of each; of a burst that takes
 * longer than the window, which a busy machine may do, at least that many, and never more in any window.
 */
async function expectExactBursts(services: readonly ServiceProcess[]): Promise<string> {
  const urls = urlsOf(services);
  const key = await newKey();
  const calls: LimitedCall[] = [];
  let slow = 0;
  for (let round = 0; round < rounds; round++) {
    const answers = await burst(urls, key);
    calls.push(...answers);
    const accepted = answers.filter(({ isAccepted }) => isAccepted);
    const lastMs = Math.max(...accepted.map(({ answeredAtMs }) => answeredAtMs));
    const tookMs = Math.max(...answers.map(({ answeredAtMs }) => answeredAtMs)) - (answers[0]?.sentAtMs ?? 0);
    if (tookMs < WINDOW_MS) expect(accepted).toHaveLength(LIMIT);
    else slow += 1;
    await sleep(Math.max(0, lastMs + WINDOW_MS + 2 - performance.now()));
  }
  expect(excesses(calls, LIMIT, WINDOW_MS)).toEqual([]);
  expect(wrongRefusals(calls, LIMIT, WINDOW_MS)).toEqual([]);
  const passed = calls.filter(({ isAccepted }) => isAccepted).length;
  return `${rounds} bursts of ${10 * LIMIT} at a limit of ${LIMIT}, ${services.length} process(es): ${passed} passed, ${slow} bursts took longer than the window`;
}

describe('R26: a limit of one process, in memory', () => {
  it('lets exactly the limit pass of ten times as many at once, and frees it on time', async () => {
    process.stdout.write(`${await expectExactBursts(await startServices(1, {}))}\n`);
  });
});

describeWithRedis('R26: a limit that processes share through Redis', () => {
  let redis: RedisServer;
  let services: ServiceProcess[] = [];

  beforeAll(async () => {
    redis = await RedisServer.start();
    services = await startServices(4, { REDIS_URL: redis.url, ...PATIENT });
  });
  afterAll(async () => {
    await Promise.all(services.map((service) => service.end()));
    await redis.end();
  });

  it.each([2, 4])(
    'lets exactly the limit pass of ten times as many at once, over %d processes',
    async (count) => {
      process.stdout.write(`${await expectExactBursts(services.slice(0, count))}\n`);
    },
  );

  it('never refuses a steady client just under the limit, and one just over it only the surplus', async () => {
    const run = async (perSecond: number): Promise<LimitedCall[]> => {
      const client = new SteadyClient(agent, urlsOf(services), await newKey(), perSecond);
      await sleep(5 * WINDOW_MS);
      return client.end();
    };
    const [under, over] = await Promise.all([run(LIMIT - 2), run(LIMIT + 4)]);
    for (const calls of [under, over]) {
      expect(excesses(calls, LIMIT, WINDOW_MS)).toEqual([]);
      expect(wrongRefusals(calls, LIMIT, WINDOW_MS)).toEqual([]);
    }
    const refused = (calls: LimitedCall[]): number => calls.filter(({ isAccepted }) => !isAccepted).length;
    process.stdout.write(
      `steady over 5 windows: ${refused(under)} of ${under.length} refused just under the limit, ${refused(over)} of ${over.length} just over it\n`,
    );
  });
});

describeWithRedis('a limit that processes share, when Redis', () => {
  const COUNT = 2;
  let redis: RedisServer;
  let services: ServiceProcess[] = [];

  beforeAll(async () => {
    redis = await RedisServer.start();
    services = await startServices(COUNT, { REDIS_URL: redis.url });
  });
  afterAll(async () => {
    await Promise.all(services.map((service) => service.end()));
    await redis.end();
  });

  /** Calls at three times the limit, before, during and after what happens to Redis. */
  async function underLoad(happens: () => Promise<void>): Promise<LimitedCall[]> {
    const client = new SteadyClient(agent, urlsOf(services), await newKey(), 3 * LIMIT);
    await sleep(1.2 * WINDOW_MS);
    await happens();
    await sleep(1.2 * WINDOW_MS);
    return client.end();
  }

  /** A busy machine may make Redis seem away to one process: from then until it is back. */
  const hiccupsSince = (fromMs: number): Span[] =>
    services.flatMap(({ output }) =>
      output.split('\n').flatMap((line) => {
        if (!line.includes('"Redis failed')) return [];
        const { time } = JSON.parse(line) as { time: string };
        const failedAtMs = Date.parse(time) - performance.timeOrigin;
        return failedAtMs > fromMs ? [{ fromMs: failedAtMs - 100, toMs: failedAtMs + WINDOW_MS }] : [];
      }),
    );

  const longest = (calls: LimitedCall[]): string =>
    Math.max(...calls.map((call) => call.answeredAtMs - call.sentAtMs)).toFixed(0);

  const since = (calls: LimitedCall[], fromMs: number): LimitedCall[] =>
    calls.filter(({ sentAtMs }) => sentAtMs >= fromMs);

  it.each<[string, (server: RedisServer) => unknown, (server: RedisServer) => unknown]>([
    ['is killed', (server) => server.kill(), (server) => server.run()],
    ['is frozen', (server) => server.freeze(), (server) => server.thaw()],
    [
      'is read-only',
      ({ client }) => client.replicaof('127.0.0.1', 1),
      ({ client }) => client.replicaof('NO', 'ONE'),
    ],
  ])('%s: goes on with shares, says so, and returns by itself', async (what, fail, mend) => {
    let failedAtMs = 0;
    let aloneFromMs = 0;
    let mendedAtMs = 0;
    let returnMs = 0;
    const calls = await underLoad(async () => {
      failedAtMs = performance.now();
      await fail(redis);
      await until(() => areAll(services, 'degraded'), LIMIT_MS);
      aloneFromMs = performance.now();
      expect((await Promise.all(services.map(healthOf))).map(({ code }) => code)).toEqual([200, 200]);
      await sleep(2 * WINDOW_MS);
      await mend(redis);
      mendedAtMs = performance.now();
      await until(() => areAll(services, 'up'), LIMIT_MS);
      returnMs = performance.now() - mendedAtMs;
    });
    // Also over the return: shares before it, Redis after it.
    const hiccups = hiccupsSince(aloneFromMs);
    expect(excesses(since(calls, aloneFromMs), LIMIT, WINDOW_MS, hiccups)).toEqual([]);
    const meanwhile = since(calls, aloneFromMs).filter(({ answeredAtMs }) => answeredAtMs < mendedAtMs);
    expect(meanwhile.filter(({ isAccepted }) => isAccepted).length).toBeGreaterThanOrEqual(LIMIT);
    process.stdout.write(
      `Redis ${what}: longest call before ${longest(calls.filter(({ sentAtMs }) => sentAtMs < failedAtMs))} ms, from then on ${longest(since(calls, failedAtMs))} ms; shared again after ${returnMs.toFixed(0)} ms; ${hiccups.length} hiccups
`,
    );
  });

  it('is flushed: holds from the next window on', async () => {
    let flushedAtMs = 0;
    const calls = await underLoad(async () => {
      await redis.client.flushall();
      flushedAtMs = performance.now();
    });
    const hiccups = hiccupsSince(flushedAtMs);
    expect(excesses(since(calls, flushedAtMs), LIMIT, WINDOW_MS, hiccups)).toEqual([]);
    process.stdout.write(
      `Redis is flushed: longest call ${longest(since(calls, flushedAtMs))} ms; ${hiccups.length} hiccups\n`,
    );
  });

  it('is not there when a process starts: starts all the same, and shares when Redis comes', async () => {
    await redis.kill();
    const late = new ServiceProcess(
      join(directory, 'home'),
      await freePort(),
      { DATABASE_URL: postgres.url, SHORT_WINDOW_SECONDS: '1', REDIS_URL: redis.url },
      join(__dirname, '..', 'system', 'support', 'short-windows.mjs'),
    );
    started.push(late);
    await late.start();
    expect(await healthOf(late)).toMatchObject({ status: 'degraded', code: 200 });
    await redis.run();
    await until(() => areAll([...services, late], 'up'), LIMIT_MS);
    await late.end();
  });
});
