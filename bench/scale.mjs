import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { watchOthers } from './support/disturbance.mjs';
import { startScript } from './support/processes.mjs';
import { column, describeMachine, percent, printTable, spread, warnOfFailures } from './support/report.mjs';
import { generateCall, makeCaller, startService } from './support/service.mjs';
import { onStage } from './support/stage.mjs';

/*
 * npm run bench:scale               what a thousand metered calls cost, of 1 and of 2 processes, and what PostgreSQL pays
 * npm run bench:scale -- --quick    the same in half a minute, with wider spreads
 */
const { values: options } = parseArgs({ options: { quick: { type: 'boolean' } } });
const plan = options.quick
  ? { rounds: 2, roundSeconds: 2, warmUpSeconds: 2 }
  : { rounds: 7, roundSeconds: 5, warmUpSeconds: 5 };
const CONNECTIONS = 64;
/** Of Linux; the unit of the times in /proc. */
const TICKS_PER_SECOND = 100;

await onStage(async (stage) => {
  console.log(await describeMachine(stage.database));
  const { subject: load } = await startScript('load.mjs');
  const services = [await startService(stage), await startService(stage)];
  const caller = await makeCaller(services[0].url, stage.database);
  const postmaster = await postmasterOf(stage.database);

  const play = async (count, seconds) => {
    const active = services.slice(0, count);
    const others = watchOthers(stage.directory);
    const before = { service: await cpuOf(active), postgres: treeSeconds(postmaster) };
    const results = await Promise.all(
      active.map(({ url }) =>
        load.ask('load', { ...generateCall(url, caller.apiKey), connections: CONNECTIONS / count, seconds }),
      ),
    );
    const after = { service: await cpuOf(active), postgres: treeSeconds(postmaster) };
    const answered = results.reduce((sum, result) => sum + result.answered, 0);
    warnOfFailures(results);
    return {
      perSecond: results.reduce((sum, result) => sum + result.perSecond, 0),
      service: ((after.service - before.service) / answered) * 1_000,
      postgres: ((after.postgres - before.postgres) / answered) * 1_000,
      others: others(),
    };
  };

  const counts = [1, 2];
  for (const count of counts) await play(count, plan.warmUpSeconds);
  const rounds = counts.map(() => []);
  for (let round = 0; round < plan.rounds; round++) {
    for (const [index, count] of counts.entries()) rounds[index].push(await play(count, plan.roundSeconds));
  }
  printTable(
    `Metered calls: ${CONNECTIONS} connections, ${plan.rounds} rounds of ${plan.roundSeconds} s each; medians (least .. most)`,
    ['', 'answers/s', 'CPU s per 1,000: service', 'PostgreSQL'],
    counts.map((count, index) => [
      `${count} process${count > 1 ? 'es' : ''}`,
      spread(column(rounds[index], 'perSecond')),
      spread(column(rounds[index], 'service'), 3),
      spread(column(rounds[index], 'postgres'), 3),
    ]),
  );
  console.log(
    `  other programs took at most ${percent(Math.max(...column(rounds.flat(), 'others')))} of the machine`,
  );
});

/** CPU seconds of processes of the service so far. */
async function cpuOf(active) {
  const usages = await Promise.all(active.map(({ subject }) => subject.ask('usage')));
  return usages.reduce((sum, { cpuUs }) => sum + cpuUs, 0) / 1e6;
}

async function postmasterOf(database) {
  const { rows } = await database.query('SELECT pg_backend_pid() AS pid');
  return statOf(rows[0].pid).parent;
}

/** CPU seconds of PostgreSQL so far: of its postmaster, those of its processes that have ended, and those that live. */
function treeSeconds(postmaster) {
  const { own, ended } = statOf(postmaster);
  const living = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => statOf(pid))
    .filter((stat) => stat?.parent === postmaster);
  return living.reduce((sum, stat) => sum + stat.own, own + ended) / TICKS_PER_SECOND;
}

/** proc(5): the fields behind the name, which may hold spaces. */
function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [parent, user, system, endedUser, endedSystem] = [1, 11, 12, 13, 14].map((n) => Number(fields[n]));
    return { parent, own: user + system, ended: endedUser + endedSystem };
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}
