import { randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { migrations } from '../../migrations';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/database/embedded-postgres';
import { withDatabase } from '../support/database';
import { buildService, freePort, ServiceProcess, until } from '../system/support/service-process';

/** Set START_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['START_ROUNDS'] ?? '3', 10));
const LIMIT_MS = 60_000;

jest.setTimeout(LIMIT_MS * (rounds + 2));

const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-starts-'));
let postgres: EmbeddedPostgres;

beforeAll(async () => {
  chmodSync(directory, 0o755);
  buildService();
  postgres = await startEmbeddedPostgres(directory);
});

afterAll(async () => {
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** A connection of the owner of the tables. */
async function connect(database: string): Promise<Client> {
  const client = new Client(withDatabase(postgres.url, database));
  await client.connect();
  return client;
}

/** Those that have run, in their order. */
async function ran(db: Client): Promise<string[]> {
  const { rows: there } = await db.query(`SELECT FROM pg_tables WHERE tablename = 'migrations'`);
  if (there.length === 0) return [];
  const { rows } = await db.query<{ name: string }>('SELECT name FROM migrations ORDER BY id');
  return rows.map(({ name }) => name);
}

it(`R31: two processes start at once on an empty database, ${rounds} times, and one or both die in the middle of the migrations: the next start finishes them`, async () => {
  const midway: number[] = [];
  const admin = await connect('postgres');
  for (let round = 1; round <= rounds; round++) {
    const database = `round_${round}`;
    await admin.query(`CREATE DATABASE ${database}`);
    const db = await connect(database);
    const settings = {
      MIGRATION_DATABASE_URL: withDatabase(postgres.url, database),
      DATABASE_URL: withDatabase(postgres.applicationUrl, database),
      LOG_LEVEL: 'fatal',
    };
    const services = [
      new ServiceProcess(directory, await freePort(), settings),
      new ServiceProcess(directory, await freePort(), settings),
    ];
    const dying = randomInt(2) === 0 ? services : services.slice(0, 1);
    const starts = services.map((service) => service.start());
    const ends = Promise.allSettled(starts);
    const before = randomInt(migrations.length);
    await until(async () => (await ran(db)).length >= before, LIMIT_MS);
    await Promise.all(dying.map((service) => service.kill()));
    midway.push((await ran(db)).length);

    const outcomes = await ends;
    const survived = services.map(
      (service, n) => dying.includes(service) || outcomes[n]?.status === 'fulfilled',
    );
    expect({ round, survived }).toEqual({ round, survived: [true, true] });
    for (const service of dying) await service.start();
    expect(await ran(db)).toEqual(migrations.map(({ name }) => name));
    for (const { url } of services) expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    for (const service of services) await service.kill();
    await db.end();
    await admin.query(`DROP DATABASE ${database} WITH (FORCE)`);
  }
  await admin.end();
  const within = midway.filter((count) => count < migrations.length).length;
  process.stdout.write(
    `R31: ${rounds} times two processes on an empty database, ${within} kills before the last of ${migrations.length} migrations; all ran once, both served\n`,
  );
});
