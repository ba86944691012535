import { watchOthers } from './disturbance.mjs';
import { startScript } from './processes.mjs';
import {
  column,
  mebibytes,
  percent,
  printTable,
  ratio,
  spread,
  thousands,
  warnOfFailures,
} from './report.mjs';
import { generateCall, makeKey, makeMoreKeys } from './service.mjs';
import { statementCounts } from './stage.mjs';

const CONNECTIONS = 64;
/** Sixteen for each connection. */
const KEYS = 16 * CONNECTIONS;
const SOAK_CALLS = 1_000_000;
const SOAK_SECONDS_MAX = 600;
const SOAK_STEP_SECONDS = 10;

/** Measures metered calls beside their floors, in interleaved rounds; also their statements and the memory at the end. */
export async function measureCalls(run) {
  const { service, caller, databaseUrl, load, plan } = run;
  const constant = await startScript('floor-constant.mjs');
  const keys = await makeMoreKeys(run, caller, KEYS);
  const capped = { name: 'capped', rate_limit_per_minute: 2_147_483_647, monthly_budget_usd: 1_000_000 };
  const cappedKey = await makeKey(service.url, caller.token, capped);
  const durable = await startScript('floor-durable.mjs', { args: [databaseUrl] });
  const contenders = [
    { name: 'A constant answer', subject: constant.subject, call: { url: constant.said } },
    { name: 'B durable POST', subject: durable.subject, call: generateCall(durable.said, caller.apiKey) },
    { name: 'metered call', subject: service.subject, call: generateCall(service.url, caller.apiKey) },
    {
      name: `of ${thousands(KEYS)} keys in turn`,
      subject: service.subject,
      call: { ...generateCall(service.url, caller.apiKey), apiKeys: keys },
    },
    {
      name: 'of one key with a money cap',
      subject: service.subject,
      call: generateCall(service.url, cappedKey),
    },
  ];
  for (const { call } of contenders) {
    await load.ask('load', { ...call, connections: CONNECTIONS, seconds: plan.warmUpSeconds });
  }
  const rounds = contenders.map(() => []);
  for (let round = 0; round < plan.rounds; round++) {
    for (const [index, contender] of contenders.entries())
      rounds[index].push(await playRound(run, contender));
  }
  await constant.subject.stop();
  await durable.subject.stop();
  printCalls(plan, contenders, rounds);
  await printCost(service, rounds[2]);
}

/** One contender under load for a round. @returns what the load generator saw, and what the round cost. */
export async function playRound({ database, directory, load, plan }, { subject, call }) {
  const statementsBefore = await statementCounts(database);
  const shareOfOthers = watchOthers(directory);
  const usageBefore = await subject.ask('usage');
  const result = await load.ask('load', { ...call, connections: CONNECTIONS, seconds: plan.roundSeconds });
  const usageAfter = await subject.ask('usage');
  const others = shareOfOthers();
  const statementsAfter = await statementCounts(database);
  return {
    ...result,
    cpuUs: (usageAfter.cpuUs - usageBefore.cpuUs) / result.answered,
    statements: statementsAfter.total - statementsBefore.total,
    ledgerCalls: statementsAfter.ledgerCalls - statementsBefore.ledgerCalls,
    others,
  };
}

function printCalls(plan, contenders, rounds) {
  const [a, b, metered] = rounds;
  printTable(
    `Calls: ${CONNECTIONS} connections, ${plan.rounds} rounds of ${plan.roundSeconds} s each; medians (least .. most)`,
    ['', 'answers/s', 'p50 ms', 'p99 ms', 'CPU us/answer', 'of A', 'of B', 'p99 of B', 'of metered'],
    contenders.map(({ name }, index) => [
      name,
      spread(column(rounds[index], 'perSecond')),
      spread(column(rounds[index], 'p50Ms'), 1),
      spread(column(rounds[index], 'p99Ms'), 1),
      spread(column(rounds[index], 'cpuUs')),
      ratio(rounds[index], a, 'perSecond'),
      ratio(rounds[index], b, 'perSecond'),
      ratio(rounds[index], b, 'p99Ms'),
      index > 2 ? ratio(rounds[index], metered, 'perSecond') : '',
    ]),
  );
  console.log('  bar for metered calls: >= 0.5 of B, p99 <= 2 of B; with a cap: >= 0.5 of the metered call');
  const others = column(rounds.flat(), 'others').map((share) => share * 100);
  console.log(`  other programs took ${spread(others)} % of the machine meanwhile`);
  warnOfFailures(rounds.flat());
}

async function printCost({ subject }, results) {
  const sum = (name) => column(results, name).reduce((total, number) => total + number, 0);
  // Not those that the client saw answered: it leaves in the middle of the last ones.
  const calls = sum('ledgerCalls');
  const { rssBytes } = await subject.ask('usage');
  printTable(
    'Cost of the metered calls',
    ['', 'measured', 'bar'],
    [
      ['SQL statements per call', (sum('statements') / calls).toFixed(3), '<= 0.1'],
      [`memory of the service after ${thousands(calls)} calls`, mebibytes(rssBytes), '<= 250 MB after 1 M'],
    ],
  );
}

/** Sends a million metered calls, at most ten minutes long, and prints the memory of the service as it goes. */
export async function soak({ service, caller, directory, load }) {
  const endsAtMs = performance.now() + SOAK_SECONDS_MAX * 1000;
  const call = { ...generateCall(service.url, caller.apiKey), connections: CONNECTIONS };
  let calls = 0;
  while (calls < SOAK_CALLS && performance.now() < endsAtMs) {
    const shareOfOthers = watchOthers(directory);
    const result = await load.ask('load', { ...call, seconds: SOAK_STEP_SECONDS });
    calls += result.answered;
    const { rssBytes } = await service.subject.ask('usage');
    console.log(
      `${thousands(calls)} calls, ${result.perSecond.toFixed(0)} a second: ${mebibytes(rssBytes)}; ` +
        `other programs took ${percent(shareOfOthers())} of the machine`,
    );
    warnOfFailures([result]);
  }
}
