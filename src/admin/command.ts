import { ConfigurationError, type Env, loadEnv } from '../config/env';
import { openDatabase } from '../platform/database/open-database';
import { EmbeddedPostgresError } from '../platform/database/postgres-errors';

/** What a command says when it cannot do what it was asked; printed as it is, with exit code 1. */
export class CommandError extends Error {}

/**
 * Runs an operator's command on the configured or embedded database, as its owner, also while the service runs, and ends the process:
 * with 0 after printing what the command returns, with 1 after printing why it failed.
 * @param mayMake whether it makes an embedded database where there is none: in the wrong folder that would only hide the mistake.
 */
export function runCommand(
  command: (env: Env, databaseUrl: string, applicationUrl: string) => Promise<string>,
  { mayMake = false } = {},
): Promise<void> {
  return run(async (env) => {
    const database = await openDatabase(env, { mayMake });
    try {
      return await command(env, database.url, database.applicationUrl);
    } finally {
      await database.close();
    }
  });
}

/** The same for a command that needs no database. */
export async function run(command: (env: Env) => Promise<string>): Promise<void> {
  try {
    process.stdout.write(`${await command(loadEnv())}\n`);
  } catch (error) {
    const explained = [CommandError, ConfigurationError, EmbeddedPostgresError].some(
      (kind) => error instanceof kind,
    );
    process.stderr.write(
      `${explained ? (error as Error).message : String((error as Error).stack ?? error)}\n`,
    );
    process.exitCode = 1;
  }
}
