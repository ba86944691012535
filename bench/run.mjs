import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startScript } from './support/processes.mjs';
import { describeMachine, median, printTable, spread } from './support/report.mjs';
import { generateCall, loginCall, makeCaller, startService, timeToReady } from './support/service.mjs';
import { onStage, root, statementCounts } from './support/stage.mjs';

/*
 * npm run bench               everything, in less than three minutes
 * npm run bench -- --quick    the same in less than 40 seconds, with wider spreads
 * npm run bench -- --soak     one million metered calls, and what the memory does meanwhile
 * It says what was measured and judges nothing; docs/performance.md says what the floors are.
 */
const { values: options } = parseArgs({ options: { quick: { type: 'boolean' }, soak: { type: 'boolean' } } });

const plan = options.quick
  ? { rounds: 3, roundSeconds: 1.5, warmUpSeconds: 1.5, loginRounds: 2, loginSeconds: 1.5, stormSeconds: 2, starts: 1 }
  : { rounds: 7, roundSeconds: 4, warmUpSeconds: 3, loginRounds: 4, loginSeconds: 3, stormSeconds: 6, starts: 3 };

const CONNECTIONS = 64;
const LOGIN_CALLERS = 8;
const STORM_CALLS_PER_SECOND = 200;
const SOAK_CALLS = 1_000_000;
const SOAK_SECONDS_MAX = 600;

await onStage(async (stage) => {
  const { database, databaseUrl } = stage;
  console.log(await describeMachine(database));
  const service = await startService(stage);
  const caller = await makeCaller(service.url, database);
  const { subject: load } = await startScript('load.mjs');
  const run = { ...stage, service, caller, load };
  if (options.soak) return soak(run);

  const constant = await startScript('floor-constant.mjs');
  const durable = await startScript('floor-durable.mjs', { args: [databaseUrl] });
  await measureCalls(run, [
    { name: 'A constant answer', subject: constant.subject, call: { url: constant.said } },
    { name: 'B durable POST', subject: durable.subject, call: generateCall(durable.said, caller.apiKey) },
    { name: 'metered call', subject: service.subject, call: generateCall(service.url, caller.apiKey) },
  ]);
  await constant.subject.stop();
  await durable.subject.stop();
  await measureLogins(run);
  await measureStorm(run);
  await service.subject.stop();
  await measureStart(run);
});

/** Metered calls beside their floors, in interleaved rounds; also their statements and the memory at the end. */
async function measureCalls({ database, load }, contenders) {
  for (const { call } of contenders) await load.ask('load', { ...call, connections: CONNECTIONS, seconds: plan.warmUpSeconds });
  const rounds = contenders.map(() => []);
  const counted = { statements: 0, calls: 0 };
  for (let round = 0; round < plan.rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      const isService = contender === contenders.at(-1);
      const before = isService && (await statementCounts(database)).total;
      const result = await measureRound(load, contender);
      rounds[index].push(result);
      if (!isService) continue;
      counted.statements += (await statementCounts(database)).total - before;
      counted.calls += result.answered;
    }
  }
  const [a, b] = rounds;
  printTable(
    `Calls: ${CONNECTIONS} connections, ${plan.rounds} rounds of ${plan.roundSeconds} s each; medians (least .. most)`,
    ['', 'answers/s', 'p50 ms', 'p99 ms', 'CPU us/answer', 'of A', 'of B', 'p99 of B'],
    contenders.map(({ name }, index) => [
      name,
      spread(column(rounds[index], 'perSecond')),
      spread(column(rounds[index], 'p50Ms'), 1),
      spread(column(rounds[index], 'p99Ms'), 1),
      spread(column(rounds[index], 'cpuUs'), 0),
      ratio(rounds[index], a, 'perSecond'),
      ratio(rounds[index], b, 'perSecond'),
      ratio(rounds[index], b, 'p99Ms'),
    ]),
  );
  console.log('  bar for the metered call: >= 0.5 of B, p99 <= 2 of B');
  warnOfFailures(rounds.flat());

  const { rssBytes } = await contenders.at(-1).subject.ask('usage');
  printTable('Cost of the metered calls', ['', 'measured', 'bar'], [
    ['SQL statements per call', (counted.statements / counted.calls).toFixed(3), '<= 0.1'],
    [`memory of the service after ${thousands(counted.calls)} calls`, `${mebibytes(rssBytes)} MiB`, '<= 250 MB after 1 M'],
  ]);
}

async function measureRound(load, { subject, call }) {
  const before = await subject.ask('usage');
  const result = await load.ask('load', { ...call, connections: CONNECTIONS, seconds: plan.roundSeconds });
  const after = await subject.ask('usage');
  return { ...result, cpuUs: (after.cpuUs - before.cpuUs) / result.answered };
}

/** Log-ins beside bare argon2, which verifies the same hash for as many callers. */
async function measureLogins({ service, caller, load }) {
  const { credentials, passwordHash: hash } = caller;
  const { subject: argon2 } = await startScript('floor-argon2.mjs');
  const seconds = plan.loginSeconds;
  const verify = () => argon2.ask('verify', { hash, password: credentials.password, callers: LOGIN_CALLERS, seconds });
  const logIn = () => load.ask('load', { ...loginCall(service.url, credentials), connections: LOGIN_CALLERS, seconds });
  await verify();
  await logIn();
  const bare = [];
  const logins = [];
  for (let round = 0; round < plan.loginRounds; round++) {
    bare.push(await verify());
    logins.push(await logIn());
  }
  await argon2.stop();
  printTable(
    `Log-ins: ${LOGIN_CALLERS} at once, ${plan.loginRounds} rounds of ${seconds} s each, ${hash.split('$')[3]}`,
    ['', 'per second', 'p50 ms', 'p99 ms', 'of bare', 'bar'],
    [
      ['bare argon2 verify', spread(column(bare, 'perSecond'), 1), '', '', '', ''],
      [
        'login',
        spread(column(logins, 'perSecond'), 1),
        spread(column(logins, 'p50Ms')),
        spread(column(logins, 'p99Ms')),
        ratio(logins, bare, 'perSecond'),
        '>= 0.9',
      ],
    ],
  );
  warnOfFailures(logins);
}

/** A steady trickle of metered calls, alone and while log-ins come as fast as they are answered. */
async function measureStorm({ service, caller, load }) {
  const call = { ...generateCall(service.url, caller.apiKey), ratePerSecond: STORM_CALLS_PER_SECOND, seconds: plan.stormSeconds };
  const { subject: storm } = await startScript('load.mjs');
  const calm = await load.ask('pace', call);
  const logins = storm.ask('load', {
    ...loginCall(service.url, caller.credentials),
    connections: LOGIN_CALLERS,
    seconds: plan.stormSeconds,
  });
  const stormy = await load.ask('pace', call);
  const { perSecond } = await logins;
  await storm.stop();
  printTable(`Calls at a steady ${STORM_CALLS_PER_SECOND} a second, ${plan.stormSeconds} s each`, ['', 'p50 ms', 'p99 ms', 'of calm p99', 'bar'], [
    ['calm', calm.p50Ms.toFixed(1), calm.p99Ms.toFixed(1), '', ''],
    [
      `during ${perSecond.toFixed(0)} log-ins a second`,
      stormy.p50Ms.toFixed(1),
      stormy.p99Ms.toFixed(1),
      (stormy.p99Ms / calm.p99Ms).toFixed(2),
      '<= 3',
    ],
  ]);
  warnOfFailures([calm, stormy]);
}

/** From `npm start` on a built tree to the first 200 of /health/ready, with the embedded database. */
async function measureStart({ directory }) {
  const home = join(directory, 'start');
  const first = await timeToReady(root, home);
  const times = [];
  for (let n = 0; n < plan.starts; n++) times.push(await timeToReady(root, home));
  printTable('npm start to ready, embedded database', ['', 'seconds', 'bar'], [
    ['first start, which makes the database', (first / 1000).toFixed(2), ''],
    ['later starts', spread(times.map((ms) => ms / 1000), 2), '<= 3'],
  ]);
}

async function soak({ service, caller, load }) {
  const endsAtMs = performance.now() + SOAK_SECONDS_MAX * 1000;
  let calls = 0;
  while (calls < SOAK_CALLS && performance.now() < endsAtMs) {
    const result = await load.ask('load', { ...generateCall(service.url, caller.apiKey), connections: CONNECTIONS, seconds: 10 });
    calls += result.answered;
    const { rssBytes } = await service.subject.ask('usage');
    console.log(`${thousands(calls)} calls, ${result.perSecond.toFixed(0)} a second: ${mebibytes(rssBytes)} MiB`);
    warnOfFailures([result]);
  }
}

function column(results, name) {
  return results.map((result) => result[name]);
}

/** Of each round to the same round of the floor, for the machine may be slower in one round than in the next. */
function ratio(results, floor, name) {
  return median(results.map((result, index) => result[name] / floor[index][name])).toFixed(2);
}

function warnOfFailures(results) {
  const failures = results.map(({ failures }) => failures).filter((failures) => failures && Object.keys(failures).length > 0);
  if (failures.length > 0) console.log(`  NOT 2xx, by status: ${JSON.stringify(failures)}`);
}

function thousands(number) {
  return number.toLocaleString('en-US');
}

function mebibytes(bytes) {
  return (bytes / 2 ** 20).toFixed(0);
}
