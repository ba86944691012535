import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveTreeTo, postgresEnvironment, type PostgresAccount } from './postgres-account';
import { EmbeddedPostgresError } from './postgres-errors';

/** What a running server says of itself in its `postmaster.pid`. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  readonly ready: boolean;
}

/** What {@link launchPostgres} starts. */
export interface Launch {
  readonly program: string;
  readonly account: PostgresAccount;
  readonly data: string;
  readonly logFile: string;
  /** Taken when it is free. */
  readonly preferredPort?: number | undefined;
  readonly settings: Readonly<Record<string, string>>;
}

const POLL_MS = 5;
const START_LIMIT_MS = 60_000;
const FAST_STOP_LIMIT_MS = 10_000;
const IMMEDIATE_STOP_LIMIT_MS = 10_000;
const LOG_BYTES_MAX = 1024 * 1024;

// Below the range that Linux takes outgoing connections from, so that the port is still free at the next start.
const PORT_MIN = 20_000;
const PORT_MAX = 32_000;

/** The server that runs on `data`, in whatever state; undefined when there is none. */
export function findPostmaster(data: string): Postmaster | undefined {
  const lines = readPostmasterFile(data);
  const pid = Number(lines[0]);
  if (!pid || !runsOn(data, pid)) return undefined;
  return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' };
}

/**
 * Starts a server outside the terminal's process group, and comes back when it accepts connections. It also comes
 * back, without a server, when another start was first or the port was taken meanwhile: look again, try again.
 * @throws EmbeddedPostgresError with the end of the log when it cannot run.
 */
export async function launchPostgres(launch: Launch): Promise<void> {
  const { account, data, logFile } = launch;
  giveTreeTo(account, dirname(data));
  removeMisleadingPostmasterFile(data);
  shortenLog(logFile);
  const port = await choosePort(launch.preferredPort);
  const log = openSync(logFile, 'a', 0o600);
  const logStart = fstatSync(log).size;

  const [file, args] = account.command(launch.program, [
    '-D',
    data,
    ...asArguments({ port: String(port), ...launch.settings }),
  ]);
  const child = spawn(file, args, {
    ...account.identity,
    cwd: data,
    env: postgresEnvironment,
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  child.unref();
  let failure: string | undefined;
  child.once('error', (error) => (failure = error.message));
  child.once(
    'exit',
    (code, signal) => (failure ??= `postgres ended with ${signal ?? `code ${String(code)}`}`),
  );

  const deadline = performance.now() + START_LIMIT_MS;
  while (failure === undefined) {
    const postmaster = findPostmaster(data);
    if (postmaster?.ready && postmaster.pid === child.pid) return;
    if (performance.now() > deadline) {
      child.kill('SIGINT');
      failure = `it was not ready after ${START_LIMIT_MS / 1000} seconds`;
    }
    await sleep(POLL_MS);
  }
  const said = readFileSync(logFile).subarray(logStart).toString();
  if (/lock file .* already exists|memory block .* still in use|could not bind/.test(said)) return;
  const lastLines = said.trim().split('\n').slice(-20).join('\n');
  throw new EmbeddedPostgresError(
    `The embedded database did not start: ${failure}. ${logFile} ends with:\n${lastLines}`,
  );
}

/** Asks the server to end now, rolling back what is open; does not wait. Safe when it is gone already. */
export function signalPostgres(data: string, pid: number, signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): void {
  if (runsOn(data, pid)) process.kill(pid, signal);
}

/**
 * Ends the server, rolling back what is open, and waits until it is gone; one that lingers is ended without its
 * last checkpoint, which the next start makes up for.
 * @throws EmbeddedPostgresError when it lingers even so.
 */
export async function stopPostgres(data: string, pid: number): Promise<void> {
  signalPostgres(data, pid);
  if (await isGone(data, pid, FAST_STOP_LIMIT_MS)) return;
  signalPostgres(data, pid, 'SIGQUIT');
  if (await isGone(data, pid, IMMEDIATE_STOP_LIMIT_MS)) return;
  throw new EmbeddedPostgresError(`The embedded database (process ${pid}) does not end.`);
}

/** Whether any process has this id. */
export function isProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function isGone(data: string, pid: number, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (runsOn(data, pid)) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** A process id alone may have passed to another process, or belong to one that only waits to be reaped. */
function runsOn(data: string, pid: number): boolean {
  if (!isProcess(pid)) return false;
  if (process.platform !== 'linux') return true;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data);
  } catch {
    return false;
  }
}

/**
 * PostgreSQL overlooks the file of a dead server by itself, but not when the dead one's process id now belongs to
 * another process, as happens after a restart of the machine or the container.
 */
function removeMisleadingPostmasterFile(data: string): void {
  const pid = Number(readPostmasterFile(data)[0]);
  if (pid && isProcess(pid) && !runsOn(data, pid)) rmSync(join(data, 'postmaster.pid'), { force: true });
}

function readPostmasterFile(data: string): string[] {
  try {
    return readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function asArguments(settings: Record<string, string>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

function shortenLog(logFile: string): void {
  try {
    const log = readFileSync(logFile);
    if (log.length > LOG_BYTES_MAX) writeFileSync(logFile, log.subarray(-LOG_BYTES_MAX / 2));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function choosePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await isFree(preferred))) return preferred;
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(PORT_MIN, PORT_MAX);
    if (await isFree(port)) return port;
  }
  throw new EmbeddedPostgresError(
    `No port from ${PORT_MIN} to ${PORT_MAX} is free for the embedded database.`,
  );
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => {
      resolve(false);
    });
    probe.listen(port, '127.0.0.1', () =>
      probe.close(() => {
        resolve(true);
      }),
    );
  });
}
