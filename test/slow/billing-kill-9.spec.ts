import { randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, FakePolar } from '../support/fake-polar/fake-polar';
import { buildService, freePort, ServiceProcess, until } from '../system/support/service-process';

/** Set KILL_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['KILL_ROUNDS'] ?? '3', 10));
const CUSTOMERS = 3;
/** Over a second: the service reports every second, so the kill finds it before, in or after a report. */
const KILL_DELAY_MS = [500, 2_500] as const;
const LIMIT_MS = 60_000;

jest.setTimeout(LIMIT_MS * (rounds + 3));

const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-billing-'));
let service: ServiceProcess;
let polar: FakePolar;

beforeAll(async () => {
  chmodSync(directory, 0o755);
  buildService();
  polar = await FakePolar.start();
  polar.store.things.meters.push({ id: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d', name: 'usage.tokens' });
  const port = await freePort();
  const settings = polar.settings({ POLAR_FLUSH_SECONDS: '1', LOG_LEVEL: 'fatal' });
  service = new ServiceProcess(directory, port, settings);
});

afterAll(async () => {
  await service.end();
  await polar.stop();
  rmSync(directory, { recursive: true, force: true });
});

it(`B2: Polar has exactly what the ledger has after ${rounds} kills of the service and faults in every tenth request`, async () => {
  await service.start();
  const customers = await Promise.all(Array.from({ length: CUSTOMERS }, (_, i) => signUp(i)));
  const faults: Fault[] = ['drop', 'commit-then-drop', 'html', { status: 500 }];
  let n = 0;
  polar.faultOf = () => (++n % 10 === 0 ? faults[(n / 10) % faults.length] : undefined);

  for (let round = 0; round < rounds; round++) {
    const ending = { isOver: false };
    const load = customers.map(async ({ apiKey }) => {
      while (!ending.isOver) await generate(apiKey);
    });
    await sleep(randomInt(...KILL_DELAY_MS));
    ending.isOver = true;
    await service.kill();
    await Promise.all(load);
    await service.start();
  }
  polar.heal();
  const ledger = await Promise.all(customers.map(({ token }) => tokensOf(token)));
  const arrived = (): number[] => customers.map(({ userId }) => polar.store.total(userId));
  await until(() => arrived().every((tokens, i) => tokens === ledger[i]), LIMIT_MS);
  // What arrives late would count twice: nothing does.
  await sleep(2_000);
  expect(arrived()).toEqual(ledger);
  expect(Math.min(...ledger)).toBeGreaterThan(0);
  expect(polar.violations).toEqual([]);
  process.stdout.write(
    `billing, kill -9: ${rounds} rounds, ${n} requests to Polar, ${ledger.join(' + ')} tokens in the ledger and at Polar\n`,
  );
});

async function signUp(i: number): Promise<{ userId: string; token: string; apiKey: string }> {
  const credentials = { email: `billed-${i}@example.com`, password: 'correct horse battery staple' };
  const { id: userId } = await call<{ id: string }>('POST', 'auth/register', credentials);
  const { access_token: token } = await call<{ access_token: string }>('POST', 'auth/login', credentials);
  const { api_key: apiKey } = await call<{ api_key: string }>(
    'POST',
    'auth/api-keys',
    { name: 'billed' },
    token,
  );
  return { userId, token, apiKey };
}

/** One metered call; a broken connection and a refusal by the rate limit are as good as any answer here. */
async function generate(apiKey: string): Promise<void> {
  const body = { user_id: 'a', prompt: 'Hello, how are you?', provider: 'echo' };
  await call('POST', 'generate', body, apiKey).catch(() => sleep(20));
  await sleep(50);
}

async function tokensOf(token: string): Promise<number> {
  return (await call<{ total_tokens: number }>('GET', 'auth/usage/stats', undefined, token)).total_tokens;
}

async function call<T>(method: string, path: string, body?: unknown, bearer?: string): Promise<T> {
  const response = await fetch(`${service.url}/api/v1/${path}`, {
    method,
    headers: {
      connection: 'close',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
  return JSON.parse(text) as T;
}
