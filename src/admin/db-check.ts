import 'reflect-metadata';
import { Client } from 'pg';
import { CommandError, runCommand } from './command';

const VERSION_MIN = 150_000;

void runCommand(async ({ DATABASE_REPLICA_URL }, databaseUrl, applicationUrl) => {
  const lines = [await check(applicationUrl, 'DATABASE_URL', databaseUrl === applicationUrl)];
  if (databaseUrl !== applicationUrl) lines.push(await check(databaseUrl, 'MIGRATION_DATABASE_URL', true));
  if (DATABASE_REPLICA_URL) lines.push(await check(DATABASE_REPLICA_URL, 'DATABASE_REPLICA_URL', false));
  return lines.join('\n');
});

/**
 * Connects, and says what is there.
 * @param migrates whether migrations run by this connection.
 */
async function check(url: string, setting: string, migrates: boolean): Promise<string> {
  const { host, pathname } = new URL(url);
  const place = `${host}${pathname}`;
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  try {
    await client.connect();
    const { rows } = await client.query<{
      number: number;
      version: string;
      role: string;
      can_create: boolean;
    }>(
      `SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
              current_user AS role,
              has_schema_privilege(current_user, current_schema(), 'CREATE')
                AND (to_regnamespace('pgboss') IS NOT NULL
                     OR has_database_privilege(current_user, current_database(), 'CREATE')) AS can_create`,
    );
    const [server] = rows;
    if (!server || server.number < VERSION_MIN) {
      throw new CommandError(
        `The server at ${place} is PostgreSQL ${server?.version ?? '?'}; 15 or later is needed.`,
      );
    }
    if (migrates && !server.can_create)
      throw new CommandError(
        `The role ${server.role} may not create tables and schemas in ${place}, which migrations do.`,
      );
    return `The database connection works: PostgreSQL ${server.version} at ${place}, as ${server.role}.`;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`No connection to ${place}: ${explain(error, setting)}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

function explain(error: unknown, setting: string): string {
  const { code, message } = error as { code?: string; message: string };
  switch (code) {
    case 'ECONNREFUSED':
      return 'nothing listens there. Is the server running, and are host and port right?';
    case 'ENOTFOUND':
      return `the host name is not known. Check ${setting}.`;
    case '28P01':
    case '28000':
      return `user or password is refused. Check ${setting}.`;
    case '3D000':
      return 'there is no such database. Create it first.';
    default:
      return message;
  }
}
