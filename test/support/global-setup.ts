import 'reflect-metadata';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/platform/database/data-source-options';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/database/embedded-postgres';
import { migrate } from '../../src/platform/database/migrate';
import { TEMPLATE_DATABASE, withDatabase } from './database';

declare global {
  var testPostgres: { server: EmbeddedPostgres; directory: string } | undefined;
}

/** Boots one PostgreSQL for the run and migrates the template that every test file copies. */
export default async function globalSetup(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-test-'));
  const server = await startEmbeddedPostgres(directory, {
    durable: false,
    settings: { max_connections: '200' },
  });
  globalThis.testPostgres = { server, directory };
  process.env['TEST_POSTGRES_URL'] = server.url;
  process.env['TEST_APPLICATION_URL'] = server.applicationUrl;

  const admin = await new DataSource({ type: 'postgres', url: server.url }).initialize();
  await admin.query(`CREATE DATABASE ${TEMPLATE_DATABASE}`);
  await admin.destroy();
  const template = await new DataSource(
    dataSourceOptions(withDatabase(server.url, TEMPLATE_DATABASE), 2),
  ).initialize();
  await migrate(template, server.applicationUrl);
  await template.destroy();
}
