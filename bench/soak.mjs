import { readdirSync } from 'node:fs';
import { watchOthers } from './support/disturbance.mjs';
import { startScript } from './support/processes.mjs';
import { describeMachine, mebibytes, percent, thousands } from './support/report.mjs';
import { generateCall, makeCaller, startService } from './support/service.mjs';
import { onStage } from './support/stage.mjs';

/*
 * npm run bench:soak                   metered calls at 70 % of the peak, for 30 minutes
 * SOAK_MINUTES=3 npm run bench:soak    a shorter one
 * It prints memory, descriptors and connections as they go, and at the end how fast the memory grew.
 */
const minutes = Number(process.env.SOAK_MINUTES ?? '30');
const SHARE_OF_PEAK = 0.7;
const CONNECTIONS = 64;
const WARM_UP_SECONDS = 10;
const STEP_SECONDS = 10;

await onStage(async (stage) => {
  console.log(await describeMachine(stage.database));
  const { subject: load } = await startScript('load.mjs');
  const { subject, url } = await startService(stage);
  const { apiKey } = await makeCaller(url, stage.database);
  const call = generateCall(url, apiKey);
  await load.ask('load', { ...call, connections: CONNECTIONS, seconds: WARM_UP_SECONDS });
  const peak = await load.ask('load', { ...call, connections: CONNECTIONS, seconds: STEP_SECONDS });
  const ratePerSecond = Math.round(peak.perSecond * SHARE_OF_PEAK);
  console.log(`peak ${peak.perSecond.toFixed(0)} a second; ${minutes} minutes at ${ratePerSecond} a second`);

  const samples = [];
  const failures = {};
  let answered = 0;
  const others = watchOthers(stage.directory);
  const startedAtMs = performance.now();
  while (performance.now() - startedAtMs < minutes * 60_000) {
    const result = await load.ask('pace', { ...call, ratePerSecond, seconds: STEP_SECONDS });
    answered += result.answered;
    for (const [status, count] of Object.entries(result.failures))
      failures[status] = (failures[status] ?? 0) + count;
    const { rssBytes } = await subject.ask('usage');
    const sample = {
      minute: (performance.now() - startedAtMs) / 60_000,
      rssBytes,
      descriptors: readdirSync(`/proc/${subject.child.pid}/fd`).length,
      pool: await metric(url, 'database_connections'),
      p99Ms: result.p99Ms,
    };
    samples.push(sample);
    console.log(
      `${sample.minute.toFixed(1).padStart(5)} min: ${mebibytes(rssBytes)}, ${sample.descriptors} descriptors, ` +
        `${sample.pool} connections, p99 ${sample.p99Ms.toFixed(1)} ms`,
    );
  }
  // The first third fills caches and lets the compiler and the collector find their pace.
  const settled = samples.slice(Math.floor(samples.length / 3));
  const range = (name) => {
    const values = settled.map((sample) => sample[name]);
    return `${Math.min(...values)} to ${Math.max(...values)}`;
  };
  console.log(
    `\n${thousands(answered)} calls answered, not 2xx: ${JSON.stringify(failures)}; of the last two thirds: ` +
      `memory ${(slope(settled) / 2 ** 20).toFixed(2)} MiB a minute, descriptors ${range('descriptors')}, ` +
      `connections ${range('pool')}; other programs took ${percent(others())} of the machine`,
  );
});

/** How fast the memory grows, in bytes a minute: the line through the samples that fits best. */
function slope(samples) {
  const mean = (read) => samples.reduce((sum, sample) => sum + read(sample), 0) / samples.length;
  const minute = mean((sample) => sample.minute);
  const bytes = mean((sample) => sample.rssBytes);
  const together = mean((sample) => (sample.minute - minute) * (sample.rssBytes - bytes));
  return together / mean((sample) => (sample.minute - minute) ** 2);
}

async function metric(url, name) {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}
