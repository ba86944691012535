import type { Env } from '../../config/env';
import { openEmbeddedPostgres } from './embedded-postgres';
import { hasCluster } from './postgres-account';
import { EmbeddedPostgresError } from './postgres-errors';

/** A database as commands use it. */
export interface OpenDatabase {
  /** Of the owner of the tables. */
  readonly url: string;
  /** By which the service connects. */
  readonly applicationUrl: string;
  close(): Promise<void>;
}

/**
 * For commands: the configured database, or the embedded one, whether the service runs or not. Close it at the end.
 * @param mayMake whether an embedded one is made where there is none.
 * @throws EmbeddedPostgresError when there is none, or it cannot run here.
 */
export async function openDatabase(env: Env, { mayMake }: { mayMake: boolean }): Promise<OpenDatabase> {
  if (env.DATABASE_URL === undefined) {
    if (!mayMake && !hasCluster(env.DATA_DIR)) {
      throw new EmbeddedPostgresError(
        `There is no database in ${env.DATA_DIR}; set DATA_DIR or DATABASE_URL as for the service.`,
      );
    }
    return openEmbeddedPostgres(env.DATA_DIR);
  }
  return {
    url: env.MIGRATION_DATABASE_URL ?? env.DATABASE_URL,
    applicationUrl: env.DATABASE_URL,
    close: () => Promise.resolve(),
  };
}
