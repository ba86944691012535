import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine, median, printTable, spread } from './support/report.mjs';
import { fillLedger } from './support/ledger-rows.mjs';
import { makeCaller, startService } from './support/service.mjs';
import { onStage } from './support/stage.mjs';

/*
 * npm run bench:reading                       reading with 10 M lines in the ledger beside reading with 10 k, and an export of 1 M
 * npm run bench:reading -- --rows 1000000     the same with fewer
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    exported: { type: 'string', default: '1000000' },
  },
});
const ROWS_BEFORE = 10_000;
const ASKED = 200;
const SAMPLE_MS = 20;
const DAYS = 30;

await onStage(async (stage) => {
  console.log(await describeMachine(stage.database));
  const service = await startService(stage);
  const caller = await makeCaller(service.url, stage.database);
  const bearer = { authorization: `Bearer ${caller.token}` };
  const until = new Date();
  const from = new Date(until - DAYS * 86_400_000);
  const span = `from=${from.toISOString()}&to=${until.toISOString()}`;
  const read = (path) => ask(`${service.url}/api/v1/auth/usage/${path}`, bearer);
  const routes = [
    ['stats', 'stats'],
    [`${DAYS} days by day`, `timeseries?granularity=day&${span}`],
    [`${DAYS} days by day and model`, `timeseries?granularity=day&group_by=model&${span}`],
    ['first page of the logs', 'logs?limit=100'],
  ];

  const measured = [];
  for (const rows of [ROWS_BEFORE, Number(values.rows)]) {
    const startedMs = performance.now();
    await fillLedger(stage.database, caller.userId, { rows, from, until });
    console.log(`${rows} lines in the ledger after ${((performance.now() - startedMs) / 1_000).toFixed()} s`);
    const times = [];
    for (const [, path] of routes) times.push(await timesOf(() => read(path)));
    measured.push(times);
  }
  const [few, many] = measured;
  printTable(
    `Reading: ${ASKED} requests one after the other, half of the lines the reader's own; milliseconds, medians (least .. most)`,
    ['', `${ROWS_BEFORE} lines`, `${values.rows} lines`, 'ratio'],
    routes.map(([name], i) => [
      name,
      spread(few[i], 1),
      spread(many[i], 1),
      (median(many[i]) / median(few[i])).toFixed(2),
    ]),
  );
  const exported = await measureExport(service, bearer, {
    // The reader has half of the lines, evenly spread over the time.
    to: new Date(+from + (until - from) * Math.min(1, (2 * Number(values.exported)) / Number(values.rows))),
    from,
  });
  console.log(
    `\nExport: ${exported.lines} lines in ${exported.seconds.toFixed(1)} s (${(exported.lines / exported.seconds).toFixed()} a second); ` +
      `RSS ${exported.beforeMb.toFixed()} MB before, at most ${exported.mostMb.toFixed()} MB meanwhile: ${(exported.mostMb - exported.beforeMb).toFixed()} MB more`,
  );
});

async function ask(url, headers) {
  const answer = await fetch(url, { headers });
  if (!answer.ok) throw new Error(`${url} was answered with ${answer.status}: ${await answer.text()}`);
  return answer;
}

/** Milliseconds of each request, after some that warm up. */
async function timesOf(request) {
  const times = [];
  for (let n = -20; n < ASKED; n++) {
    const startedMs = performance.now();
    await (await request()).arrayBuffer();
    if (n >= 0) times.push(performance.now() - startedMs);
  }
  return times;
}

/** Reads an export as fast as it comes, and watches the memory of the process that writes it. */
async function measureExport({ subject, url }, headers, { from, to }) {
  const rssMb = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${subject.child.pid}/status`, 'utf8'))[1]) / 1_024;
  const path = `${url}/api/v1/auth/usage/export?from=${from.toISOString()}&to=${to.toISOString()}`;
  const beforeMb = rssMb();
  let mostMb = beforeMb;
  const timer = setInterval(() => (mostMb = Math.max(mostMb, rssMb())), SAMPLE_MS);
  const startedMs = performance.now();
  // Without the line of names.
  let lines = -1;
  for await (const chunk of (await ask(path, headers)).body) {
    for (const byte of chunk) if (byte === 10) lines += 1;
  }
  clearInterval(timer);
  return {
    lines,
    seconds: (performance.now() - startedMs) / 1_000,
    beforeMb,
    mostMb: Math.max(mostMb, rssMb()),
  };
}
