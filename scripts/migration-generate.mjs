import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildIfStale } from './build.mjs';

/*
 * npm run migration:generate -- <Name>     writes migrations/<timestamp>-<Name>.ts from what the entities say and the migrations do not
 * npm run migration:generate -- --check    exits 1 when the two differ, and says how
 * Works on a throw-away embedded PostgreSQL; no configured database is touched.
 */
const [argument] = process.argv.slice(2);
if (!argument || (argument !== '--check' && !/^[A-Z][A-Za-z0-9]+$/.test(argument))) {
  console.error('Which name? For example: npm run migration:generate -- AddSessions (or --check)');
  process.exit(1);
}
buildIfStale();

const { startEmbeddedPostgres } = await import('../dist/src/platform/database/embedded-postgres.js');
const { createDataSource } = await import('../dist/src/data-source.js');
const { migrate } = await import('../dist/src/platform/database/migrate.js');

const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-migration-'));
const postgres = await startEmbeddedPostgres(directory, { durable: false });
let missing;
try {
  const dataSource = await createDataSource(postgres.url).initialize();
  await migrate(dataSource);
  missing = await dataSource.driver.createSchemaBuilder().log();
  await dataSource.destroy();
} finally {
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
}

const statements = (queries) =>
  queries.map(({ query }) => `    await runner.query(\`${query.replace(/[`\\$]/g, '\\$&')}\`);`).join('\n');
if (argument === '--check') {
  if (missing.upQueries.length > 0) {
    console.error(
      `Entities and migrations differ:\n${missing.upQueries.map(({ query }) => `  ${query}`).join('\n')}`,
    );
    process.exit(1);
  }
  console.log('Entities and migrations agree.');
} else {
  if (missing.upQueries.length === 0) {
    console.error('Entities and migrations agree: there is nothing to write.');
    process.exit(1);
  }
  const timestamp = Date.now();
  const name = `${argument}${timestamp}`;
  const file = `migrations/${timestamp}-${kebabCase(argument)}.ts`;
  writeFileSync(
    file,
    `import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ${name} implements MigrationInterface {
  name = '${name}';

  async up(runner: QueryRunner): Promise<void> {
${statements(missing.upQueries)}
  }

  async down(runner: QueryRunner): Promise<void> {
${statements(missing.downQueries.reverse())}
  }
}
`,
  );
  console.log(
    `${file} written: read it, and add ${name} to migrations/index.ts (there are ${readdirSync('migrations').length - 1} now).`,
  );
}

function kebabCase(name) {
  return name.replace(/(?!^)[A-Z]/g, '-$&').toLowerCase();
}
