import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { makeCaller } from '../../../bench/support/service.mjs';
import { createDataSource } from '../../../src/data-source';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../../src/platform/database/embedded-postgres';
import { findPostmaster, signalPostgres } from '../../../src/platform/database/postgres-process';
import { verifyUsage } from '../../../src/usage/usage-verifier';
import { buildService, freePort, ServiceProcess, until } from './service-process';

const LIMIT_MS = 60_000;

/** Two processes of the built service on one durable PostgreSQL, to which they connect as a role that owns nothing. */
export class ServicePair {
  private constructor(
    private readonly directory: string,
    readonly services: readonly ServiceProcess[],
    private postgres: EmbeddedPostgres,
  ) {}

  /** @param reach gives the address at which the processes find the database, such as that of something between. */
  static async start(
    settings: Readonly<Record<string, string>> = {},
    reach: (databaseUrl: string) => string | Promise<string> = (databaseUrl) => databaseUrl,
  ): Promise<ServicePair> {
    buildService();
    const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-pair-'));
    chmodSync(directory, 0o755);
    const postgres = await startEmbeddedPostgres(directory);
    const env = {
      MIGRATION_DATABASE_URL: postgres.url,
      DATABASE_URL: await reach(postgres.applicationUrl),
      LOG_LEVEL: 'fatal',
      ...settings,
    };
    const services = [];
    for (let n = 0; n < 2; n++) services.push(new ServiceProcess(directory, await freePort(), env));
    for (const service of services) await service.start();
    return new ServicePair(directory, services, postgres);
  }

  /** As the owner of the tables. */
  get databaseUrl(): string {
    return this.postgres.url;
  }

  get urls(): string[] {
    return this.services.map(({ url }) => url);
  }

  /** A connection of the owner of the tables, for as long as it is used. */
  async asOwner<T>(use: (db: Client) => Promise<T>): Promise<T> {
    const db = new Client(this.postgres.url);
    await db.connect();
    try {
      return await use(db);
    } finally {
      await db.end();
    }
  }

  /** Signs up two users. @returns a key of one without a cap, and of one with. */
  async makeFreeAndCappedKeys(): Promise<string[]> {
    const url = this.urls[0] ?? '';
    return this.asOwner(async (db) => {
      const free = await makeCaller(url, db, 'free');
      const capped = await makeCaller(url, db, 'capped');
      await db.query(`UPDATE users SET monthly_budget_usd = 100000 WHERE email = 'capped@example.com'`);
      return [free.apiKey, capped.apiKey];
    });
  }

  /** What `pg_ctl stop -m immediate` does: the server ends without a last word. */
  async crashPostgres(): Promise<void> {
    const data = join(this.directory, 'cluster', 'data');
    signalPostgres(data, findPostmaster(data)?.pid ?? 0, 'SIGQUIT');
    await until(() => findPostmaster(data) === undefined, LIMIT_MS);
  }

  /** On the port it had. */
  async restartPostgres(): Promise<void> {
    this.postgres = await startEmbeddedPostgres(this.directory);
  }

  /** What dead processes held is let go of when it expires: here now, as soon as one that lives looks. */
  async letHoldsExpire(): Promise<void> {
    await this.asOwner(async (db) => {
      await db.query('UPDATE usage_holds SET expires_at = now()');
      await until(async () => (await db.query('SELECT FROM usage_holds LIMIT 1')).rowCount === 0, LIMIT_MS);
    });
  }

  /** Sums that differ from the ledger, and months in which something is held. */
  async findings(): Promise<unknown[]> {
    const source = await createDataSource(this.postgres.url).initialize();
    try {
      const held = await source.query<unknown[]>(
        'SELECT user_id, month FROM usage_months WHERE held_tokens <> 0 OR held_usd <> 0',
      );
      return [...(await verifyUsage(source.manager)), ...held];
    } finally {
      await source.destroy();
    }
  }

  async end(): Promise<void> {
    for (const service of this.services) await service.kill();
    await this.postgres.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
