import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, escapeLiteral } from 'pg';
import { choosePostgresAccount, preparePostgresHome, type RootSetup } from './postgres-account';
import { openCluster, POSTGRES_USER, rememberPort, type Cluster } from './postgres-cluster';
import { EmbeddedPostgresError } from './postgres-errors';
import { becomeOwner, codeOf, isLastUser, joinUsers, LOCK_WAIT_MS } from './postgres-locks';
import { findPostmaster, launchPostgres, signalPostgres, stopPostgres } from './postgres-process';
import { findPostgresPrograms } from './postgres-programs';

export interface EmbeddedPostgresOptions {
  /** false: faster, and a crash of the machine may lose or corrupt everything; for tests. Default: true. */
  durable?: boolean;
  /** Further server settings by name; a server that is already running keeps its own. */
  settings?: Record<string, string>;
  /** Called once when the server is lost without `stop`: the service cannot go on. */
  onLost?: (error: EmbeddedPostgresError) => void;
  /** For tests of the ways around root. */
  rootSetup?: RootSetup;
}

/** A server that this process owns. */
export interface EmbeddedPostgres {
  /** Of the database `cortex`, with user and password. The same at the next start while the port stays free. */
  readonly url: string;
  /** The same as the role that the service itself connects as, which owns nothing. */
  readonly applicationUrl: string;
  /**
   * Ends the server and waits until it is gone, about 20 seconds at most.
   * @throws EmbeddedPostgresError when it does not end.
   */
  stop(): Promise<void>;
  /** Tells the server to end and does not wait: for an exit that cannot. */
  stopNow(): void;
}

/** A server that this process only uses. */
export interface VisitedPostgres {
  /** Of the database `cortex`, with user and password. */
  readonly url: string;
  /** The same as the role of the service. */
  readonly applicationUrl: string;
  /** Leaves; the last to leave a server that no service owns ends it. */
  close(): Promise<void>;
}

const DATABASE = 'cortex';
/** The role that the service itself connects as. */
const APPLICATION_ROLE = 'cortex_app';
const CONNECT_LIMIT_MS = 5_000;
const START_LIMIT_MS = 90_000;
const RETRY_MS = 5;

const baseSettings = {
  listen_addresses: '127.0.0.1',
  // Ends statements that nobody waits for any more.
  client_connection_check_interval: '1s',
  unix_socket_directories: '',
  // Failing statements are the application's to report: here their values would be written down, without end.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_checkpoints: 'off',
};

const fastSettings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

/**
 * Starts the PostgreSQL of `directory` and owns it until `stop`; the first time it is made. One that an owner left
 * behind, killed before it could stop it, is taken over as it runs.
 * @throws DataDirectoryInUseError when a living process owns it.
 * @throws EmbeddedPostgresError when it cannot run here.
 */
export async function startEmbeddedPostgres(
  directory: string,
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  const server = await enter(directory, options, async (connection) => {
    await joinUsers(connection);
    await becomeOwner(connection, directory);
  });
  let stopped: Promise<void> | undefined;
  server.connection.once('end', () => {
    if (stopped) return;
    options.onLost?.(new EmbeddedPostgresError(`The embedded database in ${directory} is gone.`));
  });
  return {
    url: server.url,
    applicationUrl: server.applicationUrl,
    stop: () => (stopped ??= server.stop()),
    stopNow: () => {
      stopped ??= Promise.resolve();
      signalPostgres(server.data, server.pid);
    },
  };
}

/**
 * Uses the PostgreSQL of `directory` beside its owner, or without one: then it is started, and ended at `close`.
 * @throws EmbeddedPostgresError when it cannot run here.
 */
export async function openEmbeddedPostgres(
  directory: string,
  options: EmbeddedPostgresOptions = {},
): Promise<VisitedPostgres> {
  const server = await enter(directory, options, joinUsers);
  return {
    url: server.url,
    applicationUrl: server.applicationUrl,
    close: async () => {
      if (await isLastUser(server.connection)) await server.stop();
      else await server.connection.end();
    },
  };
}

interface EnteredServer {
  readonly url: string;
  readonly applicationUrl: string;
  readonly data: string;
  readonly pid: number;
  readonly connection: Client;
  stop(): Promise<void>;
}

/** Makes sure that the server runs, and holds a connection to it on which `claim` has succeeded. */
async function enter(
  directory: string,
  options: EmbeddedPostgresOptions,
  claim: (connection: Client) => Promise<void>,
): Promise<EnteredServer> {
  const { durable = true, settings, rootSetup = {} } = options;
  const account = choosePostgresAccount(rootSetup);
  const programs = await findPostgresPrograms(account, rootSetup);
  const home = preparePostgresHome(directory, account, rootSetup);
  const cluster = await openCluster(home, programs, account, durable);
  const { data, password, lastPort } = cluster;
  const logFile = join(home, 'postgres.log');

  const deadline = performance.now() + START_LIMIT_MS;
  while (performance.now() < deadline) {
    const running = findPostmaster(data);
    if (!running) {
      await launchPostgres({
        program: programs.postgres,
        account,
        data,
        logFile,
        preferredPort: lastPort,
        settings: { ...baseSettings, ...(durable ? {} : fastSettings), ...settings },
      });
      continue;
    }
    const { pid, port } = running;
    const connection = running.ready ? await connectAndClaim(cluster, port, claim) : undefined;
    if (connection) {
      rememberPort(cluster, port);
      const place = `127.0.0.1:${port}/${DATABASE}?sslmode=disable`;
      return {
        url: `postgres://${POSTGRES_USER}:${password}@${place}`,
        applicationUrl: `postgres://${APPLICATION_ROLE}:${applicationPassword(password)}@${place}`,
        data,
        pid,
        connection,
        stop: async () => {
          await stopPostgres(data, pid);
          await connection.end();
        },
      };
    }
    await sleep(RETRY_MS);
  }
  throw new EmbeddedPostgresError(
    `The embedded database in ${directory} does not accept connections; see ${logFile}.`,
  );
}

/** A connection that is entitled as `claim` says, or undefined when the server is about to end or to recover. */
async function connectAndClaim(
  { password }: Cluster,
  port: number,
  claim: (connection: Client) => Promise<void>,
): Promise<Client | undefined> {
  const connection = new Client({
    host: '127.0.0.1',
    port,
    user: POSTGRES_USER,
    password,
    // Not the service's own database, so that this connection never stands in the way of dropping or copying it.
    database: 'postgres',
    ssl: false,
    application_name: `cortex-auth (process ${process.pid})`,
    connectionTimeoutMillis: CONNECT_LIMIT_MS,
    lock_timeout: LOCK_WAIT_MS,
  });
  // Unhandled it would end the process; the `end` that follows says enough.
  connection.on('error', () => undefined);
  try {
    await connection.connect();
    await claim(connection);
    await makeDatabase(connection);
    await makeApplicationRole(connection, applicationPassword(password));
    return connection;
  } catch (error) {
    await connection.end();
    if (isPassing(error)) return undefined;
    throw error;
  }
}

async function makeDatabase(connection: Client): Promise<void> {
  const { rowCount } = await connection.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
  if (rowCount) return;
  try {
    await connection.query('CREATE DATABASE cortex');
  } catch (error) {
    // Another process was first: duplicate_database, or unique_violation when both were under way.
    if (!['42P04', '23505'].includes(codeOf(error))) throw error;
  }
}

/** Derived from the superuser's, so that there is nothing more to keep. */
function applicationPassword(password: string): string {
  return createHmac('sha256', password).update(APPLICATION_ROLE).digest('base64url');
}

async function makeApplicationRole(connection: Client, password: string): Promise<void> {
  const { rowCount } = await connection.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [
    APPLICATION_ROLE,
  ]);
  if (rowCount) return;
  const create = `CREATE ROLE ${APPLICATION_ROLE} LOGIN PASSWORD ${escapeLiteral(password)}`;
  try {
    await connection.query(create);
  } catch (error) {
    // Another process was first: duplicate_object, or unique_violation when both were under way.
    if (!['42710', '23505'].includes(codeOf(error))) throw error;
  }
}

/** Whether an error says that the server is starting, recovering, ending or gone. */
function isPassing(error: unknown): boolean {
  const codes = ['57P01', '57P02', '57P03', '55P03', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'];
  return codes.includes(codeOf(error)) || /Connection terminated/.test((error as Error).message);
}
