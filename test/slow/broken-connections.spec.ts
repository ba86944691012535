import { setTimeout as sleep } from 'node:timers/promises';
import { FaultyProxy } from '../support/faulty-proxy';
import { type Answer, Customer, type Request } from '../system/support/customer';
import { halfDone } from '../system/support/half-done';
import { MeteredLoad } from '../system/support/metered-load';
import { ServicePair } from '../system/support/service-pair';

/** For how long connections break; set FAULT_SECONDS for more than the default. */
const seconds = Math.max(1, Number.parseInt(process.env['FAULT_SECONDS'] ?? '15', 10));
/** Of what comes over a connection to the database. */
const FAULTS_SHARE = 0.01;
const CUSTOMERS = 4;
/** How often the database hangs; set HANG_ROUNDS for more than the default. */
const HANG_ROUNDS = Math.max(1, Number.parseInt(process.env['HANG_ROUNDS'] ?? '1', 10));
/** Longer than anybody waits for a statement and for a connection together. */
const HANG_MS = 8_000;
const LIMIT_MS = 60_000;

jest.setTimeout(180_000 + seconds * 2_000 + HANG_ROUNDS * 30_000);

let proxy: FaultyProxy;
let pair: ServicePair;
let apiKeys: string[];

beforeAll(async () => {
  pair = await ServicePair.start({ TRUST_PROXY: 'loopback' }, async (databaseUrl) => {
    proxy = await FaultyProxy.start(databaseUrl);
    return proxy.url;
  });
  apiKeys = await pair.makeFreeAndCappedKeys();
});

afterAll(async () => {
  await pair.end();
  await proxy.end();
});

/** How requests of customers were refused, and how often. */
const refusals = new Map<string, number>();

/** Signs up, logs in, makes a key, calls with it and refreshes, and repeats what is refused for now when it may. */
async function live(customer: Customer, url: string): Promise<void> {
  await insist(customer, url, customer.signUp(), 'email_taken');
  customer.take(await insist(customer, url, customer.logIn()));
  const { body } = await insist(customer, url, customer.makeKey());
  await insist(customer, url, customer.generate(body['api_key']));
  customer.take(await insist(customer, url, customer.refreshing()));
  await insist(customer, url, customer.refreshing());
}

/** @param done the code of the refusal that says that it was done before, by a request that was told otherwise. */
async function insist(customer: Customer, url: string, request: Request, done?: string): Promise<Answer> {
  const deadlineMs = performance.now() + LIMIT_MS;
  for (;;) {
    const answer = await customer.ask(url, request);
    if (!answer) throw new Error(`${request[0]} was not answered.`);
    if (answer.status === 200 || answer.body['code'] === done) return answer;
    const form = answer.type?.startsWith('application/problem+json') ? answer.body['code'] : 'no problem';
    const refusal = `${answer.status} ${form ?? ''}${answer.retryAfter === null ? '' : ', Retry-After'}`;
    refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
    if (performance.now() > deadlineMs) throw new Error(`${request[0]} was refused to the end: ${refusal}`);
    // Sooner, it would only use its limits up.
    await sleep(Number(answer.retryAfter) * 1_000);
  }
}

it(`R30: while connections to the database break at random for ${seconds} seconds no process ends and all is answered, nothing acknowledged is missing or doubled, and all works afterwards`, async () => {
  let lived = 0;
  const load = new MeteredLoad('broken connections', pair.urls, apiKeys);
  proxy.share = FAULTS_SHARE;
  const endsAtMs = performance.now() + seconds * 1_000;
  const lives = Array.from({ length: CUSTOMERS }, async (_, n) => {
    for (; performance.now() < endsAtMs; lived++) await live(new Customer(), pair.urls[n % 2] ?? '');
  });
  await Promise.all(lives).finally(() => load.end());
  proxy.share = 0;

  const { cut, cutWithin, delayed, refused, chunks } = proxy.seen;
  const customersRefused = [...refusals.values()].reduce((sum, count) => sum + count, 0);
  process.stdout.write(
    `R30: of ${chunks} pieces ${cut} were lost with their connection, ${cutWithin} cut in the middle, ${delayed} late, ` +
      `${refused} connections not made; ${load.outcomes.size} metered calls, ${load.acknowledged} acknowledged, ${load.refused} refused; ` +
      `${lived} customers, ${customersRefused} of their requests refused at first\n`,
  );
  expect([cut, cutWithin, delayed]).not.toContain(0);
  expect(pair.services.map(({ isRunning, output }) => [isRunning, /error|"level"/i.exec(output)])).toEqual([
    [true, null],
    [true, null],
  ]);
  expect(load.broken).toBe(0);
  const ways = [...load.refusals, ...refusals.keys()];
  expect(ways.filter((way) => !/^(503 \w+|409 idempotent_request_running), Retry-After$/.test(way))).toEqual(
    [],
  );
  expect(await pair.asOwner((db) => load.compare(db))).toEqual({ lost: [], doubled: [], neverSent: [] });
  await pair.letHoldsExpire();
  expect(await pair.findings()).toEqual([]);
  expect(await pair.asOwner(halfDone)).toEqual([]);

  refusals.clear();
  await Promise.all(pair.urls.map((url) => live(new Customer(), url)));
  expect([...refusals]).toEqual([]);
});

it(`R2: while the database hangs ${HANG_ROUNDS} times for ${HANG_MS / 1_000} seconds no call waits for its end, nothing acknowledged is missing or doubled, and all works afterwards`, async () => {
  const load = new MeteredLoad('a hanging database', pair.urls, apiKeys);
  const answeredAgain = async (): Promise<void> => {
    const before = load.acknowledged;
    while (load.acknowledged < before + 100) await sleep(20);
  };
  const againMs: number[] = [];
  for (let round = 0; round < HANG_ROUNDS; round++) {
    await answeredAgain();
    proxy.freeze();
    await sleep(HANG_MS);
    proxy.thaw();
    const thawedMs = performance.now();
    await answeredAgain();
    againMs.push(performance.now() - thawedMs);
  }
  await load.end();
  process.stdout.write(
    `R2: ${load.outcomes.size} metered calls, ${load.acknowledged} acknowledged, ${load.refused} refused, the longest answer ` +
      `after ${(load.longestMs / 1_000).toFixed(1)} s; 100 calls answered ${(Math.max(...againMs) / 1_000).toFixed(1)} s after the end at most\n`,
  );
  expect(load.broken).toBe(0);
  expect(load.refused).toBeGreaterThan(0);
  expect(load.longestMs).toBeLessThan(HANG_MS);
  expect(load.refusals.filter((way) => !/^503 \w+, Retry-After$/.test(way))).toEqual([]);
  await pair.letHoldsExpire();
  expect(await pair.asOwner((db) => load.compare(db))).toEqual({ lost: [], doubled: [], neverSent: [] });
  expect(await pair.findings()).toEqual([]);
});
