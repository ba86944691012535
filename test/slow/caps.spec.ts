import { randomInt } from 'node:crypto';
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { watchCap } from '../support/cap-watch';
import { generate, MeteredLoad, type Outcome } from '../system/support/metered-load';
import { ServicePair } from '../system/support/service-pair';
import { until } from '../system/support/service-process';

/** Set M4_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['M4_ROUNDS'] ?? '10', 10));
const CALLS = 200;
const ROOM = 10;
/** Each call costs 0.001 US dollars: ten fit, and half of an eleventh. */
const BUDGET_USD = 0.0105;
/** Room for more calls than are made. */
const LARGE_BUDGET_USD = 50;
/** What a call of the load sets aside. */
const CALL_TOKENS = 10;
const LEASE_KILL_DELAY_MS_MAX = 500;
/** After the first hold: as long as a few commits take, so that the kill finds calls with a hold, and settled ones. */
const KILL_DELAY_MS_MAX = 5;
/** A user may make 30 keys a minute. */
const KEYS_PER_USER = 25;
const LIMIT_MS = 30_000;
const credentials = { password: 'correct horse battery staple' };

jest.setTimeout(120_000 + rounds * LIMIT_MS);

let pair: ServicePair;
let token: string;
let keysMade = 0;

beforeAll(async () => {
  pair = await ServicePair.start();
});

afterAll(() => pair.end());

it(`M4: of ${CALLS} calls at once over two processes, the ${ROOM} run that a key's budget has room for; ${rounds} rounds`, async () => {
  const ran: number[] = [];
  let looked = 0;
  for (let round = 0; round < rounds; round++) {
    const { id, key } = await makeKey();
    const watch = await watchCap(pair.databaseUrl, id, String(BUDGET_USD));
    const outcomes = await callAtOnce(key);
    const watched = await watch.end();
    looked += watched.looked;
    ran.push(answered(outcomes));
    expect({
      round,
      ran: answered(outcomes),
      refused: outcomes.map(({ refusal }) => refusal).filter(Boolean),
    }).toEqual({
      round,
      ran: ROOM,
      refused: Array.from({ length: CALLS - ROOM }, () => '402 budget_exceeded'),
    });
    expect({ round, broken: watched.broken }).toEqual({ round, broken: 0 });
  }
  process.stdout.write(
    `M4: ${rounds} rounds of ${CALLS} calls over two processes, ${Math.min(...ran)} to ${Math.max(...ran)} ran in each; the cap was held each of ${looked} times it was looked at\n`,
  );
  expect(await pair.findings()).toEqual([]);
});

it(`M4: holds when processes are killed in between, and leaves nothing held; ${rounds} rounds`, async () => {
  const ran: number[] = [];
  let looked = 0;
  let left = 0;
  for (let round = 0; round < rounds; round++) {
    const { id, key } = await makeKey();
    const watch = await watchCap(pair.databaseUrl, id, String(BUDGET_USD));
    const victim = pair.services[round % 2];
    const calls = callAtOnce(key);
    await until(async () => (await leftOf(id)) < ROOM, LIMIT_MS);
    await sleep(randomInt(KILL_DELAY_MS_MAX));
    await victim?.kill();
    const outcomes = await calls;
    left += await pair.asOwner(countHolds);
    await victim?.start();
    await pair.letHoldsExpire();
    // What is left of the budget can be used, and nothing more.
    const later = await callAtOnce(key);
    const watched = await watch.end();
    looked += watched.looked;
    ran.push(answered(outcomes) + answered(later));
    expect({ round, broken: watched.broken, left: await leftOf(id) }).toEqual({ round, broken: 0, left: 0 });
    expect(ran.at(-1)).toBeLessThanOrEqual(ROOM);
  }
  process.stdout.write(
    `M4, kill -9: ${rounds} rounds, ${Math.min(...ran)} to ${Math.max(...ran)} answered in each; the dead left ${left} holds behind, all were let go of; the cap was held each of ${looked} times it was looked at\n`,
  );
  expect(await pair.findings()).toEqual([]);
});

it(`M4: holds with room that is held ahead, when a process is killed under load, and leaves nothing held; ${rounds} rounds`, async () => {
  const ran: number[] = [];
  let looked = 0;
  let ahead = 0;
  for (let round = 0; round < rounds; round++) {
    const { id, key } = await makeKey(LARGE_BUDGET_USD);
    const watch = await watchCap(pair.databaseUrl, id, String(LARGE_BUDGET_USD));
    const victim = pair.services[round % 2];
    const load = new MeteredLoad(`round ${round}`, pair.urls, [key]);
    await until(async () => (await largestHold(id)) > CALL_TOKENS, LIMIT_MS);
    await sleep(randomInt(LEASE_KILL_DELAY_MS_MAX));
    await victim?.kill();
    await load.end();
    ahead += Math.max(0, await largestHold(id));
    await victim?.start();
    await pair.letHoldsExpire();
    const watched = await watch.end();
    looked += watched.looked;
    ran.push(load.acknowledged);
    expect({ round, broken: watched.broken }).toEqual({ round, broken: 0 });
  }
  process.stdout.write(
    `M4, room ahead, kill -9: ${rounds} rounds, ${Math.min(...ran)} to ${Math.max(...ran)} answered in each; ${ahead} tokens were left held, all were let go of; the cap was held each of ${looked} times it was looked at\n`,
  );
  expect(await pair.findings()).toEqual([]);
});

/** The most tokens that one row holds for a key. */
async function largestHold(keyId: string): Promise<number> {
  const { rows } = await pair.asOwner((db) =>
    db.query<{ tokens: number }>(
      'SELECT coalesce(max(tokens), 0)::int AS tokens FROM usage_holds WHERE api_key_id = $1',
      [keyId],
    ),
  );
  return rows[0]?.tokens ?? 0;
}

async function countHolds(db: Client): Promise<number> {
  const { rows } = await db.query<{ count: number }>('SELECT count(*)::int AS count FROM usage_holds');
  return rows[0]?.count ?? 0;
}

function answered(outcomes: readonly Outcome[]): number {
  return outcomes.filter(({ requestId }) => requestId !== undefined).length;
}

/** Every other call to the other process, all on their way before the first has its answer. */
async function callAtOnce(apiKey: string): Promise<Outcome[]> {
  const agent = new Agent({ keepAlive: true });
  const outcomes = await Promise.all(
    Array.from({ length: CALLS }, (_, n) =>
      generate(agent, pair.urls[n % pair.urls.length] ?? '', apiKey, `call ${n}`),
    ),
  );
  agent.destroy();
  return outcomes;
}

/** How many more calls fit under a key's budget, by what is settled and held. */
async function leftOf(keyId: string): Promise<number> {
  const { rows } = await pair.asOwner((db) =>
    db.query<{ left: number }>(
      `SELECT floor(($2::numeric - cost_usd - held_usd) / 0.001)::int AS left FROM usage_months WHERE scope_id = $1`,
      [keyId, BUDGET_USD],
    ),
  );
  return rows[0]?.left ?? ROOM;
}

async function makeKey(budgetUsd = BUDGET_USD): Promise<{ id: string; key: string }> {
  if (keysMade++ % KEYS_PER_USER === 0) token = await signUp(`caps-${keysMade}@example.com`);
  const wanted = { name: 'capped', monthly_budget_usd: budgetUsd, rate_limit_per_minute: 100_000 };
  const made = await post<{ api_key: string; api_key_info: { id: string } }>('auth/api-keys', wanted, token);
  return { id: made.api_key_info.id, key: made.api_key };
}

/** A user of the plan without a quota. @returns his access token. */
async function signUp(email: string): Promise<string> {
  await post('auth/register', { ...credentials, email });
  await pair.asOwner(async (db) => {
    await db.query(`UPDATE users SET tier_override = 'internal' WHERE email = $1`, [email]);
  });
  return (await post<{ access_token: string }>('auth/login', { ...credentials, email })).access_token;
}

async function post<T>(path: string, body: object, bearer?: string): Promise<T> {
  const headers = {
    'content-type': 'application/json',
    ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
  };
  const url = `${pair.urls[0] ?? ''}/api/v1/${path}`;
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path} was answered with ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}
