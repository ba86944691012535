import { randomInt } from 'node:crypto';
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate, MeteredLoad, type Outcome } from '../system/support/metered-load';
import { ServicePair } from '../system/support/service-pair';
import { until } from '../system/support/service-process';

/** Of each kind of fault; set FAULT_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['FAULT_ROUNDS'] ?? '5', 10));
const CALLS_BEFORE_MAX = 500;
const FAULT_MS_MAX = 1_000;
const LIMIT_MS = 60_000;
/** How long the service may go on refusing once the fault is over. */
const RECOVERY_MS_MAX = 10_000;

jest.setTimeout(120_000 + rounds * LIMIT_MS);

let pair: ServicePair;
/** Of a user without a cap, and of one with. */
let apiKeys: string[];

interface Fault {
  readonly name: string;
  strike(): Promise<void>;
  heal(): Promise<void>;
  /** A call under way gets no answer when its process dies, but one from a process that lives on. */
  readonly breaksConnections?: boolean;
  /** Whether calls must be refused while it lasts. */
  readonly refuses?: boolean;
}

const faults: Fault[] = [
  {
    name: 'kill -9 of one process, or of both',
    breaksConnections: true,
    strike: async () => {
      const chosen = pair.services.filter(() => randomInt(2) === 0);
      const killed = chosen.length > 0 ? chosen : pair.services.slice(0, 1);
      await Promise.all(killed.map((service) => service.kill()));
    },
    heal: async () => {
      await Promise.all(
        pair.services.filter(({ isRunning }) => !isRunning).map((service) => service.start()),
      );
    },
  },
  {
    name: 'pg_ctl stop -m immediate',
    refuses: true,
    strike: () => pair.crashPostgres(),
    heal: () => pair.restartPostgres(),
  },
  {
    name: 'dropped database connections',
    strike: () =>
      pair.asOwner(async (db) => {
        await db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'cortex_app'`);
      }),
    heal: () => Promise.resolve(),
  },
  {
    // As one is whose disk is full, or behind a fail-over.
    name: 'a database that only reads',
    refuses: true,
    strike: () => setReadOnly('on'),
    heal: () => setReadOnly('off'),
  },
];

beforeAll(async () => {
  pair = await ServicePair.start();
  apiKeys = await pair.makeFreeAndCappedKeys();
});

afterAll(() => pair.end());

it.each(faults)(
  `M1: $name, ${rounds} times under load: nothing acknowledged is missing, nothing is doubled`,
  async (fault) => {
    const seen = { calls: 0, acknowledged: 0, refused: 0, broken: 0, recoveryMs: 0 };
    const refusals = new Set<string>();
    for (let round = 1; round <= rounds; round++) {
      const load = new MeteredLoad(`${fault.name}, round ${round}`, pair.urls, apiKeys);
      seen.recoveryMs = Math.max(seen.recoveryMs, await strikeAndHeal(fault, load));
      await load.end();
      const findings = await pair.asOwner((db) => load.compare(db));
      expect({ round, ...findings }).toEqual({ round, lost: [], doubled: [], neverSent: [] });
      if (!fault.breaksConnections) expect({ round, broken: load.broken }).toEqual({ round, broken: 0 });
      for (const refusal of load.refusals) refusals.add(refusal);
      seen.calls += load.outcomes.size;
      seen.acknowledged += load.acknowledged;
      seen.refused += load.refused;
      seen.broken += load.broken;
    }
    process.stdout.write(
      `${fault.name}: ${rounds} rounds, ${seen.calls} calls, ${seen.acknowledged} acknowledged, ${seen.refused} refused ` +
        `(${[...refusals].join('; ')}), ${seen.broken} without an answer, 0 lost, 0 doubled; ` +
        `all is served again at most ${seen.recoveryMs.toFixed()} ms after\n`,
    );
    expect([...refusals].filter((refusal) => !/^503 \w+, Retry-After$/.test(refusal))).toEqual([]);
    await pair.letHoldsExpire();
    expect(await pair.findings()).toEqual([]);
  },
);

/** @returns how long it took until both processes served calls again, in milliseconds. */
async function strikeAndHeal(fault: Fault, load: MeteredLoad): Promise<number> {
  const callsBefore = randomInt(CALLS_BEFORE_MAX);
  await until(() => load.acknowledged >= callsBefore, LIMIT_MS);
  await fault.strike();
  await sleep(randomInt(FAULT_MS_MAX));
  if (fault.refuses) await until(() => load.refused > 0, LIMIT_MS);
  await fault.heal();
  const healedMs = performance.now();
  await Promise.all(pair.urls.map(untilServed));
  return performance.now() - healedMs;
}

/** Asks a process until it serves a call, with and without a cap. */
async function untilServed(url: string): Promise<void> {
  const agent = new Agent();
  for (const apiKey of apiKeys) {
    let last: Outcome = {};
    const isServed = async (): Promise<boolean> => {
      last = await generate(agent, url, apiKey, 'again');
      return last.requestId !== undefined;
    };
    await until(isServed, RECOVERY_MS_MAX).catch((error: unknown) => {
      throw new Error(`${url} still answers ${last.refusal ?? 'nothing'}.`, { cause: error });
    });
  }
}

async function setReadOnly(value: 'on' | 'off'): Promise<void> {
  await pair.asOwner(async (db) => {
    const set = `ALTER SYSTEM SET default_transaction_read_only = ${value}`;
    await db.query(set);
    await db.query('SELECT pg_reload_conf()');
  });
}
