import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { openEmbeddedPostgres, type VisitedPostgres } from '../../src/platform/database/embedded-postgres';
import { buildService, freePort, ServiceProcess, until } from './support/service-process';

/** A failed round prints its number in the names of its calls; set KILL_ROUNDS for more than one. */
const rounds = Math.max(1, Number.parseInt(process.env['KILL_ROUNDS'] ?? '1', 10));
const CONNECTIONS = 32;
const CALLS_BEFORE_KILL_MAX = 500;
/** Several commits long, so that the kill finds the ledger at any point of its work. */
const KILL_DELAY_MS_MAX = 30;
const LIMIT_MS = 60_000;
const RATE_PER_MINUTE = 2_147_483_647;

jest.setTimeout(LIMIT_MS * (rounds + 2));

/** What the client saw of one call; each call names an end user of its own, which its ledger line keeps. */
interface Outcome {
  /** Of the answer's head; null: no answer came. */
  readonly requestId: string | null;
  /** Null: the answer broke off after its head. */
  readonly tokens: number | null;
  /** The answer says that the first call with this Idempotency-Key still runs. */
  readonly isStuck?: true;
}

interface LedgerRow {
  readonly id: string;
  readonly end_user: string;
  readonly tokens_used: number;
  readonly cost_usd: string;
}

const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-kill-'));
const outcomes = new Map<string, Outcome>();
let service: ServiceProcess;
let postgres: VisitedPostgres | undefined;
let database: Client | undefined;

beforeAll(async () => {
  chmodSync(directory, 0o755);
  buildService();
  service = new ServiceProcess(directory, await freePort());
});

afterAll(async () => {
  await database?.end();
  await postgres?.close();
  await service.end();
  rmSync(directory, { recursive: true, force: true });
});

it(`has every acknowledged call in the ledger, once, after each kill under load, of which there are ${rounds}; a repetition with an Idempotency-Key finds both its line and its answer, or neither (R7)`, async () => {
  await service.start();
  const db = await connect();
  const caller = await signUp(db);
  const postgresPid = service.postgresPid;

  for (let round = 1; round <= rounds; round++) {
    await loadAndKill(round, caller.apiKey);
    await until(async () => (await othersConnected(db)) === 0, LIMIT_MS);
    await service.start();

    expect(service.postgresPid).toBe(postgresPid);
    const stuck = await repeatUnanswered(caller.apiKey);
    const rows = await readLedger(db);
    expect(compare(rows)).toEqual({ lost: [], doubled: [], neverSent: [], wrongTokens: [] });
    expect(rows.filter(({ end_user }) => stuck.includes(end_user))).toEqual([]);
    expect(await stats(caller.token)).toMatchObject(totals(rows));
  }
  expect(acknowledged()).toBeGreaterThan(0);
  report(await readLedger(db));
});

async function connect(): Promise<Client> {
  postgres = await openEmbeddedPostgres(directory);
  database = new Client(postgres.url);
  await database.connect();
  return database;
}

async function signUp(db: Client): Promise<{ token: string; apiKey: string }> {
  const credentials = { email: 'kill@example.com', password: 'correct horse battery staple' };
  await call('POST', 'auth/register', credentials);
  await db.query(`UPDATE users SET tier_override = 'internal' WHERE email = $1`, [credentials.email]);
  const { access_token: token } = await call<{ access_token: string }>('POST', 'auth/login', credentials);
  const wanted = { name: 'kill', rate_limit_per_minute: RATE_PER_MINUTE };
  const made = await call<{ api_key: string }>('POST', 'auth/api-keys', wanted, token);
  return { token, apiKey: made.api_key };
}

/** Metered calls over many connections until a kill at a random moment has broken all of them. */
async function loadAndKill(round: number, apiKey: string): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const killAfterCalls = outcomes.size + randomInt(1, CALLS_BEFORE_KILL_MAX);
  const connections = Array.from({ length: CONNECTIONS }, async (_, connection) => {
    for (let n = 0; ; n++) {
      const endUser = `round ${round}, connection ${connection}, call ${n}`;
      const outcome = await generate(agent, apiKey, endUser);
      outcomes.set(endUser, outcome);
      if (outcome.tokens === null) return;
    }
  });
  let isRefused = false;
  const allBroken = Promise.all(connections);
  allBroken.catch(() => (isRefused = true));
  await until(() => isRefused || outcomes.size >= killAfterCalls, LIMIT_MS);
  await sleep(randomInt(KILL_DELAY_MS_MAX));
  await service.kill();
  await allBroken;
  agent.destroy();
}

/** Repeats the calls with an Idempotency-Key whose answer was lost; those are answered with the end users of which it is said that they still run. */
async function repeatUnanswered(apiKey: string): Promise<string[]> {
  const agent = new Agent({ keepAlive: true });
  const lost = [...outcomes].filter(([endUser, { tokens }]) => tokens === null && hasKey(endUser));
  const again = await Promise.all(
    lost.map(async ([endUser]) => [endUser, await generate(agent, apiKey, endUser)] as const),
  );
  agent.destroy();
  for (const [endUser, outcome] of again) if (!outcome.isStuck) outcomes.set(endUser, outcome);
  return again.filter(([, { isStuck }]) => isStuck).map(([endUser]) => endUser);
}

/** Of every second connection all calls have one. */
function hasKey(endUser: string): boolean {
  return /connection \d*[13579],/.test(endUser);
}

/** One metered call. @throws Error when it is answered with anything but 200, or 409 when it has an Idempotency-Key. */
async function generate(agent: Agent, apiKey: string, endUser: string): Promise<Outcome> {
  const outgoing = request(`${service.url}/api/v1/generate`, {
    agent,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-api-key': apiKey,
      ...(hasKey(endUser) && { 'idempotency-key': `"${endUser}"` }),
    },
  });
  // It may fail once more while its answer breaks off; what is awaited below tells that too.
  outgoing.on('error', () => undefined);
  outgoing.end(JSON.stringify({ user_id: endUser, prompt: `Who are you, ${endUser}?`, provider: 'echo' }));
  let answer: IncomingMessage;
  try {
    [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  } catch {
    return { requestId: null, tokens: null };
  }
  if (answer.statusCode === 409 && hasKey(endUser)) {
    answer.resume();
    return { requestId: null, tokens: null, isStuck: true };
  }
  if (answer.statusCode !== 200)
    throw new Error(`A call was answered with ${answer.statusCode ?? 'nothing'}.`);
  const requestId = String(answer.headers['x-request-id']);
  try {
    const body = (await json(answer)) as { request_id: string; usage: { total_tokens: number } };
    // Of a repeated call this is the id of the first.
    return { requestId: body.request_id, tokens: body.usage.total_tokens };
  } catch {
    return { requestId, tokens: null };
  }
}

/** Connections to the service's database but this one: those of a killed service end when their statement does. */
async function othersConnected(db: Client): Promise<number> {
  const { rows } = await db.query<{ others: number }>(
    `SELECT count(*)::int AS others FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
  );
  return rows[0]?.others ?? 0;
}

async function readLedger(db: Client): Promise<LedgerRow[]> {
  const { rows } = await db.query<LedgerRow>(
    `SELECT id, metadata->>'end_user' AS end_user, tokens_used, cost_usd FROM usage_logs`,
  );
  return rows;
}

/** What must not be, by the end users of the calls concerned. */
function compare(
  rows: readonly LedgerRow[],
): Record<'lost' | 'doubled' | 'neverSent' | 'wrongTokens', string[]> {
  const rowOf = new Map(rows.map((row) => [row.end_user, row]));
  const isLost = ([endUser, { requestId }]: [string, Outcome]): boolean =>
    requestId !== null && rowOf.get(endUser)?.id !== requestId;
  const isWrong = ({ end_user, tokens_used }: LedgerRow): boolean =>
    tokens_used !== (outcomes.get(end_user)?.tokens ?? tokens_used);
  return {
    lost: [...outcomes].filter(isLost).map(([endUser]) => endUser),
    doubled: rows.filter((row) => rowOf.get(row.end_user) !== row).map(({ end_user }) => end_user),
    neverSent: rows.filter(({ end_user }) => !outcomes.has(end_user)).map(({ end_user }) => end_user),
    wrongTokens: rows.filter(isWrong).map(({ end_user }) => end_user),
  };
}

function totals(rows: readonly LedgerRow[]): Record<string, number> {
  const nanoUsd = rows.reduce((sum, { cost_usd }) => sum + BigInt(cost_usd.replace('.', '')), 0n);
  return {
    total_requests: rows.length,
    total_tokens: rows.reduce((sum, { tokens_used }) => sum + tokens_used, 0),
    total_cost_usd: Number(nanoUsd) / 1e9,
  };
}

function stats(token: string): Promise<Record<string, number>> {
  return call('GET', 'auth/usage/stats', undefined, token);
}

async function call<T>(method: string, path: string, body?: unknown, token?: string): Promise<T> {
  const response = await fetch(`${service.url}/api/v1/${path}`, {
    method,
    headers: {
      connection: 'close',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
  return JSON.parse(text) as T;
}

function report(rows: readonly LedgerRow[]): void {
  const { lost, doubled } = compare(rows);
  process.stdout.write(
    `kill -9: ${rounds} rounds, ${outcomes.size} calls, ${acknowledged()} acknowledged, ${rows.length} stored ` +
      `(${rows.length - acknowledged()} of them without an answer), ${lost.length} lost, ${doubled.length} doubled\n`,
  );
}

function acknowledged(): number {
  return [...outcomes.values()].filter(({ requestId }) => requestId !== null).length;
}
