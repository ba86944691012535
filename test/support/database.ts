import { randomBytes } from 'node:crypto';
import { DataSource } from 'typeorm';

/** Holds the schema as the migrations make it, and nothing else. */
export const TEMPLATE_DATABASE = 'cortex_template';

/** The same server's URL for another database. */
export function withDatabase(url: string, database: string): string {
  return Object.assign(new URL(url), { pathname: `/${database}` }).toString();
}

/** The URL by which the service connects to a database: as the role that owns nothing. */
export function asApplication(databaseUrl: string): string {
  return withDatabase(process.env['TEST_APPLICATION_URL'] ?? '', new URL(databaseUrl).pathname.slice(1));
}

/** A fresh copy of the migrated database, for one test file. @returns its URL and how to remove it. */
export async function copyDatabase(
  template = TEMPLATE_DATABASE,
): Promise<{ url: string; drop(): Promise<void> }> {
  const serverUrl = process.env['TEST_POSTGRES_URL'] ?? '';
  const name = `test_${randomBytes(8).toString('hex')}`;
  const run = async (sql: string): Promise<void> => {
    const admin = await new DataSource({ type: 'postgres', url: serverUrl }).initialize();
    await admin.query(sql);
    await admin.destroy();
  };
  await run(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`);
  return { url: withDatabase(serverUrl, name), drop: () => run(`DROP DATABASE ${name} WITH (FORCE)`) };
}
