import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measureCalls, soak } from './support/measure-calls.mjs';
import { measureLogins, measureStorm } from './support/measure-logins.mjs';
import { startScript } from './support/processes.mjs';
import { describeMachine, printTable, spread } from './support/report.mjs';
import { makeCaller, startService, timeToReady } from './support/service.mjs';
import { onStage, root } from './support/stage.mjs';

/*
 * npm run bench               everything, in less than four minutes
 * npm run bench -- --quick    the same in less than a minute, with wider spreads
 * npm run bench -- --soak     one million metered calls, and what the memory does meanwhile
 * It says what was measured and judges nothing; docs/performance.md says what the floors are.
 */
const { values: options } = parseArgs({ options: { quick: { type: 'boolean' }, soak: { type: 'boolean' } } });

const full = {
  rounds: 7,
  roundSeconds: 4,
  warmUpSeconds: 3,
  loginRounds: 4,
  loginSeconds: 3,
  stormRounds: 5,
  stormSeconds: 6,
  starts: 3,
};
const quick = {
  rounds: 3,
  roundSeconds: 1.2,
  warmUpSeconds: 1.2,
  loginRounds: 2,
  loginSeconds: 1.2,
  stormRounds: 2,
  stormSeconds: 2,
  starts: 1,
};

await onStage(async (stage) => {
  const plan = options.quick ? quick : full;
  console.log(await describeMachine(stage.database));
  const service = await startService(stage);
  const caller = await makeCaller(service.url, stage.database);
  const { subject: load } = await startScript('load.mjs');
  const run = { ...stage, plan, service, caller, load };
  if (options.soak) return soak(run);

  await measureCalls(run);
  await measureLogins(run);
  await measureStorm(run);
  await service.subject.stop();
  await measureStart(run);
});

/** From `npm start` on a built tree to the first 200 of /health/ready, with the embedded database. */
async function measureStart({ directory, plan }) {
  const home = join(directory, 'start');
  const firstMs = await timeToReady(root, home);
  const laterMs = [];
  for (let n = 0; n < plan.starts; n++) laterMs.push(await timeToReady(root, home));
  const seconds = laterMs.map((ms) => ms / 1000);
  printTable(
    'npm start to ready, embedded database',
    ['', 'seconds', 'bar'],
    [
      ['first start, which makes the database', (firstMs / 1000).toFixed(2), ''],
      ['later starts', spread(seconds, 2), '<= 3'],
    ],
  );
}
