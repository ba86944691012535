import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startScript } from './support/processes.mjs';
import { printTable } from './support/report.mjs';
import { generateCall, makeCaller, startService } from './support/service.mjs';
import { onStage, root, statementCounts } from './support/stage.mjs';

/*
 * npm run bench:profile                           where the service spends its time under metered calls
 * npm run bench:profile -- --out calls.cpuprofile   keeps the profile, for the performance panel of a browser
 * Only the load is profiled, not the start. Times are those of the JavaScript thread.
 */
const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    connections: { type: 'string', default: '64' },
    top: { type: 'string', default: '25' },
    out: { type: 'string' },
  },
});
const WARM_UP_SECONDS = 4;

await onStage(async (stage) => {
  const { subject: service, url } = await startService(stage);
  const { apiKey } = await makeCaller(url, stage.database);
  const { subject: load } = await startScript('load.mjs');
  const call = { ...generateCall(url, apiKey), connections: Number(options.connections) };
  await load.ask('load', { ...call, seconds: WARM_UP_SECONDS });

  const before = await statementCounts(stage.database);
  await service.ask('startProfile');
  const result = await load.ask('load', { ...call, seconds: Number(options.seconds) });
  const profile = await service.ask('takeProfile');
  const after = await statementCounts(stage.database);

  console.log(`${result.answered} calls, ${result.perSecond.toFixed(0)} a second while profiled`);
  if (options.out) writeFileSync(options.out, JSON.stringify(profile));
  printProfile(profile, result.answered, stage.dist);
  printStatements(before, after);
});

/** Prints self time by function and by package, and our own functions with all they call. */
function printProfile(profile, calls, dist) {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const times = timesByNode(profile, nodes);
  const busyUs = [...times.values()].reduce((sum, us) => sum + us, 0);
  const rows = (sums) =>
    [...sums]
      .sort(([, a], [, b]) => b - a)
      .slice(0, Number(options.top))
      .map(([name, us]) => [name, `${((us / busyUs) * 100).toFixed(1)} %`, (us / calls).toFixed(1)]);
  const head = ['', 'of busy time', 'us per call'];

  const byFunction = group(times, (id) => `${nodeName(nodes.get(id))}  ${place(nodes.get(id), dist)}`);
  printTable('Self time by function', head, rows(byFunction));
  printTable('Self time by package', head, rows(group(times, (id) => packageOf(nodes.get(id), dist))));
  printTable(
    'Our own functions, with what they call before they wait',
    head,
    rows(ownTotals(profile, times, dist)),
  );
}

/** Self times in microseconds, without waiting and without the profiler itself. */
function timesByNode({ samples, timeDeltas }, nodes) {
  const times = new Map();
  for (const [index, id] of samples.entries()) {
    const { functionName, url } = nodes.get(id).callFrame;
    if (functionName === '(idle)' || functionName === '(root)' || url === 'node:inspector') continue;
    times.set(id, (times.get(id) ?? 0) + timeDeltas[index]);
  }
  return times;
}

function group(times, nameOf) {
  const sums = new Map();
  for (const [id, us] of times) sums.set(nameOf(id), (sums.get(nameOf(id)) ?? 0) + us);
  return sums;
}

/** Each function of ours with the self times of all below it, counted once where it calls itself. */
function ownTotals({ nodes }, times, dist) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const sums = new Map();
  const visit = (node, callers) => {
    const isOwn = packageOf(node, dist) === 'cortex-auth';
    const name = isOwn ? `${nodeName(node)}  ${place(node, dist)}` : undefined;
    const chain = name && !callers.includes(name) ? [...callers, name] : callers;
    for (const caller of chain) sums.set(caller, (sums.get(caller) ?? 0) + (times.get(node.id) ?? 0));
    for (const child of node.children ?? []) visit(byId.get(child), chain);
  };
  visit(nodes[0], []);
  return sums;
}

function nodeName({ callFrame: { functionName } }) {
  return functionName || '(anonymous)';
}

function place({ callFrame: { url, lineNumber } }, dist) {
  if (!url) return '';
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  const short = path.startsWith(dist)
    ? relative(dist, path)
    : path.startsWith(root)
      ? relative(root, path)
      : path;
  return `${short.replace(/^.*node_modules\//, '')}:${lineNumber + 1}`;
}

function packageOf({ callFrame }, dist) {
  const { url, functionName } = callFrame;
  if (!url) return functionName.startsWith('(') ? functionName : 'V8 and native code';
  if (url.startsWith('node:')) return `Node ${url.split('/')[0]}`;
  const inPackage = /^.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url);
  if (inPackage) return inPackage[1];
  return (url.startsWith('file:') ? fileURLToPath(url) : url).startsWith(dist) ? 'cortex-auth' : url;
}

function printStatements(before, after) {
  const calls = after.ledgerCalls - before.ledgerCalls;
  const earlier = new Map(before.rows.map((row) => [row.query, row]));
  const rows = after.rows
    .map(({ query, count, totalMs }) => ({
      query: query.replace(/\s+/g, ' ').slice(0, 90),
      count: count - (earlier.get(query)?.count ?? 0),
      ms: totalMs - (earlier.get(query)?.totalMs ?? 0),
    }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
    .slice(0, 10)
    .map(({ query, count, ms }) => [query, (count / calls).toFixed(3), (ms / count).toFixed(3)]);
  printTable('Statements', ['', 'per call', 'ms each'], rows);
}
