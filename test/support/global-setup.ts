import 'reflect-metadata';
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { type Program, startPgBouncer, startRedis } from '../../bench/support/cluster.mjs';
import { dataSourceOptions } from '../../src/platform/database/data-source-options';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/database/embedded-postgres';
import { migrate } from '../../src/platform/database/migrate';
import { TEMPLATE_DATABASE, withDatabase } from './database';

declare global {
  var testPostgres: { server: EmbeddedPostgres; directory: string; programs: Program[] } | undefined;
}

/**
 * Boots one PostgreSQL for the run and migrates the template that every test file copies. With CLUSTER=true also a
 * PgBouncer before it and a Redis: every application is then two, behind an nginx; see test-app.ts.
 */
export default async function globalSetup(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-test-'));
  const server = await startEmbeddedPostgres(directory, {
    durable: false,
    settings: { max_connections: '200' },
  });
  const programs: Program[] = [];
  globalThis.testPostgres = { server, directory, programs };
  process.env['TEST_POSTGRES_URL'] = server.url;
  process.env['TEST_APPLICATION_URL'] = server.applicationUrl;
  if (process.env['CLUSTER'] === 'true') {
    chmodSync(directory, 0o755);
    const pooler = await startPgBouncer(join(directory, 'pgbouncer'), server.applicationUrl);
    const redis = await startRedis(directory);
    programs.push(pooler, redis);
    process.env['TEST_APPLICATION_URL'] = pooler.url;
    process.env['TEST_REDIS_URL'] = redis.url;
  }

  const admin = await new DataSource({ type: 'postgres', url: server.url }).initialize();
  await admin.query(`CREATE DATABASE ${TEMPLATE_DATABASE}`);
  await admin.destroy();
  const template = await new DataSource(
    dataSourceOptions(withDatabase(server.url, TEMPLATE_DATABASE), 2),
  ).initialize();
  await migrate(template, server.applicationUrl);
  await template.destroy();
}
