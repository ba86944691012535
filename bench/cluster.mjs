import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { missingPackages, startCluster } from './support/cluster.mjs';

/*
 * npm run cluster                     nginx, two processes, PgBouncer, PostgreSQL and Redis, until Ctrl-C
 * npm run cluster -- --processes 4    the same with four
 */
const { values } = parseArgs({ options: { processes: { type: 'string', default: '2' } } });

const missing = missingPackages();
if (missing.length > 0) {
  console.error(`Not installed: ${missing.join(', ')} (Debian: apt-get install ${missing.join(' ')}).`);
  process.exit(1);
}
const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-cluster-'));
const cluster = await startCluster(directory, { processes: Number(values.processes) });
const lines = [
  ['Cortex Auth', cluster.url],
  ...cluster.members.map(({ url }, index) => [`process ${index + 1}`, url]),
  ['PostgreSQL', cluster.databaseUrl],
  ['PgBouncer', cluster.pooledUrl],
  ['Redis', cluster.redisUrl],
];
console.log(lines.map(([name, url]) => `  ${name.padEnd(14)}${url}`).join('\n'));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => void cluster.stop().finally(() => process.exit(0)));
}
