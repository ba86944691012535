import { parseArgs } from 'node:util';
import { measureLogins, measureStorm } from './support/measure-logins.mjs';
import { startScript } from './support/processes.mjs';
import { describeMachine } from './support/report.mjs';
import { makeCaller, startService } from './support/service.mjs';
import { onStage } from './support/stage.mjs';

/*
 * npm run bench:login               log-ins beside bare argon2, and metered calls during a storm of log-ins
 * npm run bench:login -- --rounds 8
 */
const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '4' } } });
const plan = {
  loginRounds: Number(options.rounds),
  loginSeconds: 3,
  stormRounds: Number(options.rounds),
  stormSeconds: 6,
};

await onStage(async (stage) => {
  console.log(await describeMachine(stage.database));
  const service = await startService(stage);
  const caller = await makeCaller(service.url, stage.database);
  const { subject: load } = await startScript('load.mjs');
  const run = { ...stage, plan, service, caller, load };
  await measureLogins(run);
  await measureStorm(run);
});
