import type { Env } from '../../config/env';
import { openEmbeddedPostgres } from './embedded-postgres';

/** A database as commands use it. */
export interface OpenDatabase {
  /** Of the owner of the tables. */
  readonly url: string;
  /** By which the service connects. */
  readonly applicationUrl: string;
  close(): Promise<void>;
}

/** For commands: the configured database, or the embedded one, whether the service runs or not. Close it at the end. */
export async function openDatabase(env: Env): Promise<OpenDatabase> {
  if (env.DATABASE_URL === undefined) return openEmbeddedPostgres(env.DATA_DIR);
  return {
    url: env.MIGRATION_DATABASE_URL ?? env.DATABASE_URL,
    applicationUrl: env.DATABASE_URL,
    close: () => Promise.resolve(),
  };
}
