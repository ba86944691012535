import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { buildIfStale } from '../../scripts/build.mjs';
import { stopAll } from './processes.mjs';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * Sets up what every measurement stands on: a current build, a folder of its own beside the service's data, and one
 * durable PostgreSQL that counts statements; then runs `play`, and takes everything down however that ends.
 * @param play gets `{ dist, directory, databaseUrl, database }`; `database` is a connected pg client.
 */
export async function onStage(play) {
  buildIfStale();
  const dist = realpathSync(join(root, 'dist'));
  const { startEmbeddedPostgres } = await import(join(dist, 'src/platform/database/embedded-postgres.js'));
  mkdirSync(join(root, '.data'), { recursive: true });
  const directory = mkdtempSync(join(root, '.data', 'bench-'));
  const postgres = await startEmbeddedPostgres(join(directory, 'postgres'), {
    settings: { shared_preload_libraries: 'pg_stat_statements' },
  });
  const database = new Client({ connectionString: postgres.url });
  let takenDown;
  const takeDown = () =>
    (takenDown ??= (async () => {
      await stopAll();
      await database.end();
      await postgres.stop();
      rmSync(directory, { recursive: true, force: true });
    })());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => void takeDown().finally(() => process.exit(1)));
  }

  try {
    await database.connect();
    await database.query('CREATE EXTENSION pg_stat_statements');
    await play({ dist, directory, databaseUrl: postgres.url, database });
  } finally {
    await takeDown();
  }
}

/**
 * Statements that the service has sent so far, as `pg_stat_statements` counts them: each execution, BEGIN and COMMIT
 * included.
 * @returns the whole number, the numbers by text, and how many calls stand in the ledger by now.
 */
export async function statementCounts(database) {
  const { rows: ledger } = await database.query('SELECT count(*)::int AS calls FROM usage_logs');
  const { rows } = await database.query(
    `SELECT query, calls::int AS count, total_exec_time AS "totalMs" FROM pg_stat_statements
     WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND query !~ 'pg_stat_statements|count\\(\\*\\)::int AS calls|floor_logs' AND toplevel`,
  );
  return { total: rows.reduce((sum, { count }) => sum + count, 0), rows, ledgerCalls: ledger[0].calls };
}
