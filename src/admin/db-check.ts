import 'reflect-metadata';
import { Client } from 'pg';
import { CommandError, runCommand } from './command';

const VERSION_MIN = 150_000;

void runCommand(async (_env, databaseUrl) => {
  const { host, pathname } = new URL(databaseUrl);
  const place = `${host}${pathname}`;
  const client = new Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 });
  try {
    await client.connect();
    const { rows } = await client.query<{ number: number; version: string; can_create: boolean }>(
      `SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
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
    if (!server.can_create)
      throw new CommandError(`The role may not create tables and schemas in ${place}, which migrations do.`);
    return `The database connection works: PostgreSQL ${server.version} at ${place}.`;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`No connection to ${place}: ${explain(error)}`);
  } finally {
    await client.end().catch(() => undefined);
  }
});

function explain(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  switch (code) {
    case 'ECONNREFUSED':
      return 'nothing listens there. Is the server running, and are host and port right?';
    case 'ENOTFOUND':
      return 'the host name is not known. Check DATABASE_URL.';
    case '28P01':
    case '28000':
      return 'user or password is refused. Check DATABASE_URL.';
    case '3D000':
      return 'there is no such database. Create it first.';
    default:
      return message;
  }
}
