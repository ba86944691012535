import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import {
  openEmbeddedPostgres,
  startEmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from '../../src/platform/database/embedded-postgres';
import { choosePostgresAccount, reachableInstallation } from '../../src/platform/database/postgres-account';
import { DataDirectoryInUseError, EmbeddedPostgresError } from '../../src/platform/database/postgres-errors';
import { findPostmaster, stopPostgres } from '../../src/platform/database/postgres-process';
import { findPostgresPrograms } from '../../src/platform/database/postgres-programs';

jest.setTimeout(60_000);

const isRoot = process.getuid?.() === 0;
const isLinux = process.platform === 'linux';
const nobody = { uid: 65_534, gid: 65_534 };
const childScript = join(__dirname, 'embedded-postgres-user.mjs');

/** Everything of one run stands here; folders below belong to one test each, but for `common`. */
const base = mkdtempSync(join(tmpdir(), 'embedded-postgres-'));
const common = join(base, 'common');
const children: ChildProcess[] = [];

const fast: EmbeddedPostgresOptions = { durable: false };
const start = (directory: string, options: EmbeddedPostgresOptions = fast) =>
  startEmbeddedPostgres(directory, options);

beforeAll(async () => {
  chmodSync(base, 0o755);
  await (await start(common)).stop();
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const name of readdirSync(base)) await stopWhateverRuns(join(base, name));
});

afterAll(() => {
  rmSync(base, { recursive: true });
});

describe('the embedded PostgreSQL', () => {
  it('makes a database of UTF-8, behind a password that nobody else can read', async () => {
    const directory = join(base, 'first');
    const server = await start(directory, { durable: true });

    const [row] = await query(
      server.url,
      `SELECT current_user, current_database(), current_setting('server_encoding') AS encoding,
      current_setting('fsync') AS fsync, upper('ä') AS upper, inet_server_addr()::text AS address`,
    );
    expect(row).toEqual({
      current_user: 'cortex',
      current_database: 'cortex',
      encoding: 'UTF8',
      fsync: 'on',
      upper: 'Ä',
      address: '127.0.0.1/32',
    });

    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, 'cluster', 'server.json')).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(directory, 'cluster')).sort()).toEqual(['data', 'server.json']);
    const wrong = new URL(server.url);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
    await server.stop();
  });

  it('keeps data and address over a restart', async () => {
    const first = await start(common);
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();

    const second = await start(common);

    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    await query(second.url, 'DROP TABLE kept');
  });

  it('makes the role of the service, also in a cluster of an earlier version, which had one role', async () => {
    const first = await start(common);
    await query(first.url, 'DROP ROLE cortex_app');
    await first.stop();

    const second = await start(common);

    expect(
      await query(
        second.applicationUrl,
        `SELECT current_user AS name, rolsuper OR rolcreaterole OR rolcreatedb AS "canMore"
         FROM pg_roles WHERE rolname = current_user`,
      ),
    ).toEqual([{ name: 'cortex_app', canMore: false }]);
    const wrong = Object.assign(new URL(second.applicationUrl), { password: new URL(second.url).password });
    await expect(query(wrong.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
  });

  it('moves to another port when its own is taken', async () => {
    const first = await start(common);
    await first.stop();
    const squatter = createServer().listen(Number(new URL(first.url).port), '127.0.0.1');
    await once(squatter, 'listening');

    const second = await start(common);

    expect(new URL(second.url).port).not.toBe(new URL(first.url).port);
    expect(await query(second.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    squatter.close();
  });

  it('leaves no process behind', async () => {
    const server = await start(common);
    const pid = postmasterPid(common);
    expect(isRunning(pid)).toBe(true);

    await server.stop();

    await until(() => !isRunning(pid));
    expect(findPostmaster(join(common, 'cluster', 'data'))).toBeUndefined();
  });

  it('shows the end of the log when the server does not start', async () => {
    const failed = start(common, { durable: false, settings: { shared_buffers: 'plenty' } });

    await expect(failed).rejects.toThrow(EmbeddedPostgresError);
    await expect(failed).rejects.toThrow(/postgres\.log ends with:\n.*"shared_buffers": "plenty"/s);
  });

  it('tells the owner when the server is lost, and not when it is stopped', async () => {
    const onLost = jest.fn();
    const stopped = await start(common, { ...fast, onLost });
    await stopped.stop();
    expect(onLost).not.toHaveBeenCalled();

    const lost = new Promise<EmbeddedPostgresError>((resolve) => {
      onLost.mockImplementation(resolve);
    });
    const server = await start(common, { ...fast, onLost });
    process.kill(postmasterPid(common), 'SIGQUIT');

    await expect(lost).resolves.toThrow(EmbeddedPostgresError);
    expect(onLost).toHaveBeenCalledTimes(1);
    await server.stop();
  });
});

describe('one owner', () => {
  it('refuses a second owner and says who the first is', async () => {
    const { url } = await start(common);

    const second = await run('start', common);

    expect(second.answer).toMatchObject({ error: 'DataDirectoryInUseError' });
    expect(second.answer.message).toContain(`cortex-auth (process ${process.pid})`);
    await expect(start(common)).rejects.toThrow(DataDirectoryInUseError);
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('takes over the running server of an owner that was killed', async () => {
    const { child, answer } = await run('start', common);
    const before = postmasterPid(common);
    await kill(child);

    const server = await start(common);

    expect(server.url).toBe(answer.url);
    expect(postmasterPid(common)).toBe(before);
    await server.stop();
    await until(() => !isRunning(before));
  });

  it('lets one of several first starts win and refuses the others clearly', async () => {
    const directory = join(base, 'parallel');

    const runs = await Promise.all([1, 2, 3].map(() => run('start', directory)));

    expect(runs.filter(({ answer }) => answer.url)).toHaveLength(1);
    expect(runs.filter(({ answer }) => answer.error === 'DataDirectoryInUseError')).toHaveLength(2);
    expect(readdirSync(directory).sort()).toEqual(['cluster', 'postgres.log']);
  });

  it('starts after a first start that was killed in the middle', async () => {
    const directory = join(base, 'killed');
    const child = spawnChild('start', directory);
    const isMaking = () =>
      existsSync(directory) &&
      readdirSync(directory, { recursive: true, encoding: 'utf8' }).some((path) =>
        path.endsWith('PG_VERSION'),
      );
    await until(isMaking);
    await kill(child);
    expect(readdirSync(directory)).not.toContain('cluster');

    const server = await start(directory);

    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('waits for a server that is still ending', async () => {
    const first = await start(common);
    const before = postmasterPid(common);
    first.stopNow();

    const second = await start(common);

    expect(postmasterPid(common)).not.toBe(before);
    expect(await query(second.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  (isLinux ? it : it.skip)(
    'is not misled by the file of a dead server whose process id lives on elsewhere',
    async () => {
      writeFileSync(
        join(common, 'cluster', 'data', 'postmaster.pid'),
        `${process.pid}\n/elsewhere\n1\n5432\n\n127.0.0.1\n1 1\nready   \n`,
      );

      const server = await start(common);

      expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    },
  );

  (isLinux ? it : it.skip)('runs the server in a session of its own, without our environment', async () => {
    await start(common);
    const pid = postmasterPid(common);

    const session = readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ').slice(4, 6);
    expect(session).toEqual([String(pid), String(pid)]);
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
    expect(environment.map((entry) => entry.split('=')[0]).sort()).toEqual(['LC_ALL', 'PATH', 'TZ']);
  });
});

describe('a visitor', () => {
  it('uses the server of the owner and leaves it running', async () => {
    const owner = await start(common);
    const visitor = await openEmbeddedPostgres(common, fast);
    expect(visitor.url).toBe(owner.url);

    await visitor.close();

    expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('starts the server when there is none, and the last visitor ends it', async () => {
    const visits = await Promise.all([1, 2, 3].map(() => openEmbeddedPostgres(common, fast)));
    const pid = postmasterPid(common);
    expect(new Set(visits.map(({ url }) => url)).size).toBe(1);

    await Promise.all(visits.map((visit) => visit.close()));

    await until(() => !isRunning(pid));
  });

  it('hands the server on to an owner that comes meanwhile', async () => {
    const visitor = await openEmbeddedPostgres(common, fast);
    const owner = await start(common);

    await visitor.close();

    expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('closes in peace when the owner has ended the server', async () => {
    const owner = await start(common);
    const visitor = await openEmbeddedPostgres(common, fast);
    await owner.stop();

    await expect(visitor.close()).resolves.toBeUndefined();
  });
});

(isRoot ? describe : describe.skip)('as root', () => {
  it('runs the server as nobody where there are no user namespaces, and changes over', async () => {
    const directory = join(base, 'uid');
    const asNobody: EmbeddedPostgresOptions = {
      durable: false,
      rootSetup: { isolation: 'uid', sharedFolder: join(base, 'shared') },
    };
    const first = await start(directory, asNobody);
    expect(statSync(`/proc/${postmasterPid(directory)}`).uid).toBe(nobody.uid);
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();

    for (const options of [fast, asNobody]) {
      const server = await start(directory, options);
      expect(await query(server.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
      await server.stop();
    }
  });

  it('keeps everything in the shared folder when nobody cannot enter the directory', async () => {
    const closed = join(base, 'closed');
    const directory = join(closed, 'data');
    mkdirSync(closed, { mode: 0o700 });
    const options: EmbeddedPostgresOptions = {
      durable: false,
      rootSetup: { isolation: 'uid', sharedFolder: join(base, 'shared') },
    };
    const first = await start(directory, options);
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const home = readFileSync(join(directory, 'location'), 'utf8');
    expect(dirname(home)).toBe(join(base, 'shared'));
    await expect(start(directory, options)).rejects.toThrow(DataDirectoryInUseError);
    await first.stop();

    const second = await start(directory, options);

    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    await second.stop();
    expect(findPostmaster(join(home, 'cluster', 'data'))).toBeUndefined();
  });

  it('copies the programs to where nobody can run them', async () => {
    const account = choosePostgresAccount({ isolation: 'uid' });
    const { postgres } = await findPostgresPrograms({ identity: {}, command: account.command }, {});
    const closed = join(base, 'closed-programs');
    mkdirSync(closed, { mode: 0o700 });
    cpSync(dirname(dirname(dirname(postgres))), closed, { recursive: true, verbatimSymlinks: true });

    const copy = reachableInstallation(join(closed, 'native'), account, {
      sharedFolder: join(base, 'shared-programs'),
    });

    const { status, stdout } = spawnSync(join(copy, 'bin', 'postgres'), ['--version'], {
      ...nobody,
      encoding: 'utf8',
    });
    expect([status, stdout]).toEqual([0, expect.stringContaining('PostgreSQL) 18')]);
  });

  const isOpenToAll =
    isRoot && spawnSync(process.execPath, ['--check', childScript], { ...nobody, cwd: '/' }).status === 0;
  (isOpenToAll ? it : it.skip)(
    'leaves an ordinary user, here nobody, to run everything as himself',
    async () => {
      const home = join(base, 'ordinary');
      mkdirSync(home, { mode: 0o700 });
      chownSync(home, nobody.uid, nobody.gid);
      const directory = join(home, 'data');

      const killed = await run('start', directory, nobody);
      const pid = postmasterPid(directory);
      expect(statSync(`/proc/${pid}`).uid).toBe(nobody.uid);
      await kill(killed.child);
      const adopted = await run('start', directory, nobody);
      const refused = await run('start', directory, nobody);

      expect(adopted.answer.url).toBe(killed.answer.url);
      expect(refused.answer.error).toBe('DataDirectoryInUseError');
      adopted.child.stdin?.end();
      await once(adopted.child, 'exit');
      await until(() => !isRunning(pid));
    },
  );
});

interface Answer {
  url?: string;
  error?: string;
  message?: string;
}

function spawnChild(how: 'start' | 'open', directory: string, identity: { uid?: number; gid?: number } = {}) {
  const child = spawn(process.execPath, [childScript, how, directory, JSON.stringify(fast)], {
    ...identity,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

/** Runs a start in a process of its own, until it has succeeded or failed. */
async function run(...args: Parameters<typeof spawnChild>): Promise<{ child: ChildProcess; answer: Answer }> {
  const child = spawnChild(...args);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, answer: JSON.parse(line) as Answer };
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client(url);
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return rows;
  } finally {
    await client.end();
  }
}

function postmasterPid(directory: string): number {
  return findPostmaster(join(directory, 'cluster', 'data'))?.pid ?? NaN;
}

async function stopWhateverRuns(directory: string): Promise<void> {
  const data = join(directory, 'cluster', 'data');
  const running = findPostmaster(data);
  if (running) await stopPostgres(data, running.pid);
}

/** A process that has ended and only waits to be reaped does not run. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isLinux || !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('It did not come about within 10 seconds.');
    await sleep(5);
  }
}
