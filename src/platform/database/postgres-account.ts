import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { EmbeddedPostgresError } from './postgres-errors';

/** How PostgreSQL is run when the service itself runs as root, which PostgreSQL refuses. */
export interface RootSetup {
  /** `uid` skips the user namespace; for tests of the path that machines without `unshare` take. */
  isolation?: 'uid';
  /** Where data and binaries go when they stand in a folder that PostgreSQL's account cannot enter. */
  sharedFolder?: string;
}

/** Whom PostgreSQL runs as. */
export interface PostgresAccount {
  /** Whom the data must belong to; absent for an ordinary user, to whom everything belongs anyway. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Given to `spawn`. */
  readonly identity: { readonly uid?: number; readonly gid?: number };
  /** The command that runs `file` as this account; it keeps the process id, so that signals reach `file`. */
  readonly command: (file: string, args: readonly string[]) => readonly [string, string[]];
}

/**
 * The whole environment of PostgreSQL's programs: the service's own, with its secrets and its PG* variables,
 * stays outside.
 */
export const postgresEnvironment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  TZ: 'UTC',
};

const SHARED_FOLDER = '/var/lib/cortex-auth';
/** Says where the cluster is, when that is not in the folder itself. */
const POINTER = 'location';

/**
 * Whom PostgreSQL runs as here. An ordinary user runs it himself. Root runs it as `nobody` in a user namespace,
 * where root's own files stay within reach; where that is refused, as the real `nobody`.
 */
export function choosePostgresAccount(setup: RootSetup = {}): PostgresAccount {
  if (process.getuid?.() !== 0) return { identity: {}, command: (file, args) => [file, [...args]] };

  const nobody = findNobody();
  const namespaced: PostgresAccount = {
    owner: { uid: 0, gid: 0 },
    identity: {},
    command: (file, args) => ['unshare', ['--user', `--map-user=${nobody.uid}`, '--', file, ...args]],
  };
  if (setup.isolation !== 'uid' && runsShell(namespaced, 'exit 0')) return namespaced;
  return { owner: nobody, identity: nobody, command: (file, args) => [file, [...args]] };
}

/**
 * The folder that holds the cluster of `directory`, made when it is missing: `directory` itself, or one in the
 * shared folder where the account cannot enter `directory`. The choice is kept in `directory/location`.
 */
export function preparePostgresHome(directory: string, account: PostgresAccount, setup: RootSetup): string {
  const wanted = resolve(directory);
  mkdirSync(dirname(wanted), { recursive: true });
  makeFolder(account, wanted);
  const pointer = join(wanted, POINTER);
  if (!existsSync(pointer) && canEnter(account, wanted)) return wanted;

  if (!existsSync(pointer)) {
    if (existsSync(join(wanted, 'cluster'))) {
      throw new EmbeddedPostgresError(
        `PostgreSQL cannot enter ${wanted} any more; open the folders above it or set DATABASE_URL.`,
      );
    }
    writeOnce(pointer, join(makeSharedFolder(setup), randomBytes(12).toString('hex')));
  }
  const home = readFileSync(pointer, 'utf8');
  makeFolder(account, home);
  return home;
}

/** Whether a database was made in `directory`, or where it points to. */
export function hasCluster(directory: string): boolean {
  const pointer = join(directory, POINTER);
  const home = existsSync(pointer) ? readFileSync(pointer, 'utf8') : directory;
  return existsSync(join(home, 'cluster'));
}

/** PostgreSQL's installation `native`, or a copy of it in the shared folder where the account cannot enter it. */
export function reachableInstallation(native: string, account: PostgresAccount, setup: RootSetup): string {
  if (!account.owner || canEnter(account, join(native, 'bin'))) return native;

  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const copy = join(makeSharedFolder(setup), `postgres-${version}-${process.platform}-${process.arch}`);
  if (!existsSync(copy)) {
    const draft = `${copy}.${process.pid}`;
    cpSync(native, draft, { recursive: true, verbatimSymlinks: true });
    giveTreeTo(account, draft);
    try {
      renameSync(draft, copy);
    } catch (error) {
      // A start at the same moment may have been first.
      rmSync(draft, { recursive: true });
      if (!existsSync(copy)) throw error;
    }
  }
  giveTreeTo(account, copy);
  return copy;
}

/** Makes `path` belong to the account, when it does not yet. */
export function giveTo({ owner }: PostgresAccount, path: string): void {
  if (owner && lstatSync(path).uid !== owner.uid) lchownSync(path, owner.uid, owner.gid);
}

/** Makes a folder and all below belong to the account; judged by the folder, which is handed over last. */
export function giveTreeTo(account: PostgresAccount, folder: string): void {
  if (!account.owner || lstatSync(folder).uid === account.owner.uid) return;
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    giveTo(account, join(folder, entry));
  giveTo(account, folder);
}

function canEnter(account: PostgresAccount, folder: string): boolean {
  return !account.owner || runsShell(account, 'test -r "$0" && test -x "$0"', folder);
}

function runsShell(account: PostgresAccount, script: string, ...args: string[]): boolean {
  const [file, all] = account.command('/bin/sh', ['-c', script, ...args]);
  return (
    spawnSync(file, all, { ...account.identity, cwd: '/', env: postgresEnvironment, stdio: 'ignore' })
      .status === 0
  );
}

/** Writes a file that then never changes: of two that do so at once, the first one's content stays. */
function writeOnce(file: string, content: string): void {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, content, { mode: 0o600, flush: true });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
}

function makeFolder(account: PostgresAccount, folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  giveTo(account, folder);
}

function makeSharedFolder(setup: RootSetup): string {
  const folder = setup.sharedFolder ?? SHARED_FOLDER;
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
  return folder;
}

function findNobody(): { uid: number; gid: number } {
  const passwd = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8') : '';
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd) ?? [];
  return { uid: Number(uid ?? 65_534), gid: Number(gid ?? 65_534) };
}
