import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { giveTo, postgresEnvironment, type PostgresAccount } from './postgres-account';
import { EmbeddedPostgresError } from './postgres-errors';
import { isProcess } from './postgres-process';
import type { PostgresPrograms } from './postgres-programs';

/** The superuser of the embedded server. */
export const POSTGRES_USER = 'cortex';

/** A database cluster on disk. */
export interface Cluster {
  /** The folder that PostgreSQL calls its data directory. */
  readonly data: string;
  readonly password: string;
  /** Where the server listened last; it returns there when the port is still free. */
  readonly lastPort?: number | undefined;
}

const serverFile = z.object({ password: z.string().min(1), port: z.number().optional() });

/**
 * The cluster in `home`, made when there is none. It is made in a folder of its own and then renamed into place
 * whole, with its password: a start that is killed leaves no half cluster, and of two first starts one wins.
 * @throws EmbeddedPostgresError with what `initdb` said.
 */
export async function openCluster(
  home: string,
  programs: PostgresPrograms,
  account: PostgresAccount,
  durable: boolean,
): Promise<Cluster> {
  const folder = join(home, 'cluster');
  removeAbandonedDrafts(home);
  if (!existsSync(folder)) {
    const draft = join(home, `initializing-${process.pid}-${randomBytes(6).toString('hex')}`);
    try {
      await initialize(draft, programs, account, durable);
      renameSync(draft, folder);
    } catch (error) {
      rmSync(draft, { recursive: true, force: true });
      if (!existsSync(folder)) throw error;
    }
  }
  const { password, port } = serverFile.parse(JSON.parse(readFileSync(join(folder, 'server.json'), 'utf8')));
  return { data: join(folder, 'data'), password, lastPort: port };
}

/** Keeps the port for the next start. */
export function rememberPort({ data, password, lastPort }: Cluster, port: number): void {
  if (port !== lastPort) writeServerFile(dirname(data), { password, port });
}

async function initialize(
  folder: string,
  programs: PostgresPrograms,
  account: PostgresAccount,
  durable: boolean,
): Promise<void> {
  mkdirSync(folder, { mode: 0o700 });
  const password = randomBytes(24).toString('base64url');
  // A file, because everyone on the machine can read the arguments of a process.
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  giveTo(account, passwordFile);
  giveTo(account, folder);

  const [file, args] = account.command(programs.initdb, [
    `--pgdata=${join(folder, 'data')}`,
    `--username=${POSTGRES_USER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
    ...(durable ? [] : ['--no-sync']),
  ]);
  try {
    await promisify(execFile)(file, args, { ...account.identity, cwd: folder, env: postgresEnvironment });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new EmbeddedPostgresError(
      `The embedded database could not be made in ${dirname(folder)}:\n${stderr?.trim() || message}`,
      { cause: error },
    );
  }
  rmSync(passwordFile);
  writeServerFile(folder, { password });
}

function writeServerFile(folder: string, content: z.infer<typeof serverFile>): void {
  const draft = join(folder, `server.json.${process.pid}`);
  writeFileSync(draft, JSON.stringify(content), { mode: 0o600, flush: true });
  renameSync(draft, join(folder, 'server.json'));
}

function removeAbandonedDrafts(home: string): void {
  for (const name of readdirSync(home)) {
    const pid = /^initializing-(\d+)-/.exec(name)?.[1];
    if (!pid || isProcess(Number(pid))) continue;
    try {
      rmSync(join(home, name), { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // The initdb of a killed start may still be writing there; the next start removes what it leaves.
    }
  }
}
