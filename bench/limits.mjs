import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { playRound } from './support/measure-calls.mjs';
import { freePort, startScript } from './support/processes.mjs';
import { column, describeMachine, printTable, ratio, spread, warnOfFailures } from './support/report.mjs';
import { generateCall, makeCaller, startService } from './support/service.mjs';
import { onStage } from './support/stage.mjs';

/*
 * npm run bench:limits              what the rate limits of a metered call cost: in memory, and in Redis
 * npm run bench:limits -- --quick   the same in a third of the time, with wider spreads
 * The caller has a limit that is out of reach, and those of his plan: three policies. Needs redis-server for the last line.
 */
const { values: options } = parseArgs({ options: { quick: { type: 'boolean' } } });
const plan = options.quick
  ? { rounds: 3, roundSeconds: 1.5, warmUpSeconds: 2 }
  : { rounds: 7, roundSeconds: 4, warmUpSeconds: 3 };
const unlimited = fileURLToPath(new URL('support/unlimited-service.mjs', import.meta.url));

const redis = spawnSync('redis-server', ['--version']).status === 0 ? await startRedis() : undefined;
try {
  await onStage(measureLimits);
} finally {
  redis?.child.kill('SIGKILL');
}

async function measureLimits(stage) {
  console.log(await describeMachine(stage.database));
  const { subject: load } = await startScript('load.mjs');
  const services = [
    ['without limits', await startService(stage, { script: unlimited, args: [stage.dist] })],
    ['limits in memory', await startService(stage)],
  ];
  if (redis) services.push(['limits in Redis', await startService(stage, { env: { REDIS_URL: redis.url } })]);
  else console.log('No redis-server here: limits in Redis are not measured.');

  const { apiKey } = await makeCaller(services[0][1].url, stage.database, 'limits', 'enterprise');
  const contenders = services.map(([name, { subject, url }]) => ({
    name,
    subject,
    call: generateCall(url, apiKey),
  }));
  const run = { ...stage, load, plan };
  for (const contender of contenders)
    await playRound({ ...run, plan: { roundSeconds: plan.warmUpSeconds } }, contender);
  const rounds = contenders.map(() => []);
  for (let round = 0; round < plan.rounds; round++) {
    for (const [index, contender] of contenders.entries())
      rounds[index].push(await playRound(run, contender));
  }
  printTable(
    `Metered calls: 64 connections, ${plan.rounds} rounds of ${plan.roundSeconds} s each; medians (least .. most)`,
    ['', 'answers/s', 'p99 ms', 'CPU us/answer', 'answers of without', 'CPU of without'],
    contenders.map(({ name }, index) => [
      name,
      spread(column(rounds[index], 'perSecond')),
      spread(column(rounds[index], 'p99Ms'), 1),
      spread(column(rounds[index], 'cpuUs')),
      ratio(rounds[index], rounds[0], 'perSecond'),
      ratio(rounds[index], rounds[0], 'cpuUs'),
    ]),
  );
  const others = column(rounds.flat(), 'others').map((share) => share * 100);
  console.log(`  other programs took ${spread(others)} % of the machine meanwhile, Redis among them`);
  warnOfFailures(rounds.flat());
}

async function startRedis() {
  const port = await freePort();
  const settings = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const child = spawn('redis-server', settings.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  // It says when it is ready, among other things.
  let said = '';
  while (!said.includes('Ready to accept connections')) said += String((await once(child.stdout, 'data'))[0]);
  child.stdout.resume();
  return { child, url: `redis://127.0.0.1:${port}` };
}
