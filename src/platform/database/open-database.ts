import type { Env } from '../../config/env';
import { openEmbeddedPostgres } from './embedded-postgres';

/** For commands: the configured database, or the embedded one, whether the service runs or not. Close it at the end. */
export async function openDatabase(env: Env): Promise<{ readonly url: string; close(): Promise<void> }> {
  if (env.DATABASE_URL === undefined) return openEmbeddedPostgres(env.DATA_DIR);
  return { url: env.DATABASE_URL, close: () => Promise.resolve() };
}
