import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildIfStale } from '../../scripts/build.mjs';
import { freePort } from './processes.mjs';
import { startService } from './service.mjs';
import { root } from './stage.mjs';

const READY_LIMIT_MS = 20_000;
const POLL_MS = 10;
/** Who runs what refuses to run as root. */
const NOBODY = 'nobody';

/** @returns the packages of Debian that the cluster needs and are not installed. */
export function missingPackages() {
  const packages = { nginx: 'nginx-light', pgbouncer: 'pgbouncer', 'redis-server': 'redis-server' };
  return Object.entries(packages)
    .filter(([program]) => spawnSync(program, ['--version']).error)
    .map(([, name]) => name);
}

/**
 * Starts what the compose profile `scale` describes, without containers: PostgreSQL, PgBouncer in transaction mode,
 * Redis, processes of the built service, and nginx in front of them, all on free ports of the loopback interface.
 * @param directory where it all lives; made when missing, and emptied at the end.
 * @param options `processes` (2), `redis` (true), `settings`: further settings of the service; `durable` (true).
 */
export async function startCluster(
  directory,
  { processes: count = 2, redis: hasRedis = true, settings = {}, durable = true } = {},
) {
  buildIfStale();
  const dist = realpathSync(join(root, 'dist'));
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755);
  const ends = [];
  const stop = async () => {
    while (ends.length > 0) await ends.pop()();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const { startEmbeddedPostgres } = await import(join(dist, 'src/platform/database/embedded-postgres.js'));
    const postgres = await startEmbeddedPostgres(join(directory, 'postgres'), { durable });
    ends.push(() => postgres.stop());
    const pooler = await startPgBouncer(join(directory, 'pgbouncer'), postgres.url);
    ends.push(() => pooler.end());
    const redis = hasRedis ? await startRedis(directory) : undefined;
    if (redis) ends.push(() => redis.end());

    const port = await freePort();
    // One address for all: it stands in the access tokens, which any process may be shown.
    const PUBLIC_URL = `http://127.0.0.1:${port}`;
    const env = { PUBLIC_URL, ...(redis && { REDIS_URL: redis.url }), ...settings };
    const launch = (own) => startService({ dist, databaseUrl: pooler.url, directory }, { port: own, env });
    const members = [];
    ends.push(() => Promise.all(members.map(({ subject }) => subject.stop())));
    for (let n = 0; n < count; n++) members.push(await launch(await freePort()));
    const nginx = await startNginx(join(directory, 'nginx'), port, members);
    ends.push(() => nginx.end());

    return {
      url: PUBLIC_URL,
      /** Each with its `subject`, the process, and its own `url`. */
      members,
      /** Of PostgreSQL itself, past the pooler. */
      databaseUrl: postgres.url,
      pooledUrl: pooler.url,
      redisUrl: redis?.url,
      /** Ends one process as an operator does and starts it anew. @returns its exit code and how long the end took. */
      restart: async (index) => {
        const { subject, url } = members[index];
        const startedAtMs = performance.now();
        await subject.stop();
        const endMs = performance.now() - startedAtMs;
        members[index] = await launch(Number(new URL(url).port));
        return { code: subject.child.exitCode, endMs };
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** deploy/pgbouncer.ini in front of a PostgreSQL whose URL names user and password. */
export async function startPgBouncer(directory, postgresUrl) {
  const target = new URL(postgresUrl);
  const port = await freePort();
  makeReadable(directory);
  const users = join(directory, 'userlist.txt');
  writeFileSync(users, `"${target.username}" "${decodeURIComponent(target.password)}"\n`);
  writeFileSync(
    join(directory, 'pgbouncer.ini'),
    place('pgbouncer.ini', [
      ['host=postgres port=5432', `host=${target.hostname} port=${target.port}`],
      ['listen_addr = 0.0.0.0', 'listen_addr = 127.0.0.1'],
      ['listen_port = 6432', `listen_port = ${port}`],
      ['/etc/pgbouncer/userlist.txt', users],
    ]),
  );
  const asNobody = process.getuid() === 0 ? ['-u', NOBODY] : [];
  const program = await launchProgram(
    'pgbouncer',
    ['-q', ...asNobody, join(directory, 'pgbouncer.ini')],
    port,
  );
  return { ...program, url: Object.assign(new URL(target), { port: String(port) }).toString() };
}

/** deploy/nginx.conf in front of processes. */
async function startNginx(directory, port, members) {
  makeReadable(directory);
  const file = join(directory, 'nginx.conf');
  writeFileSync(
    file,
    place('nginx.conf', [
      [
        'server process:8000 resolve max_fails=0;',
        members.map(({ url }) => `server ${new URL(url).host} max_fails=0;`).join('\n    '),
      ],
      ['listen 8080;', `listen 127.0.0.1:${port};`],
      ['worker_processes auto;', 'worker_processes 1;'],
      ['/tmp/', `${directory}/`],
    ]),
  );
  const args = ['-p', directory, '-c', file, '-e', 'stderr', '-g', 'daemon off;'];
  return launchProgram('nginx', args, port);
}

async function startRedis(directory) {
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const program = await launchProgram('redis-server', args, port, directory);
  return { ...program, url: `redis://127.0.0.1:${port}` };
}

/** A file of deploy/ with other addresses. @throws Error when it no longer says what is to be replaced. */
function place(name, replacements) {
  let text = readFileSync(join(root, 'deploy', name), 'utf8');
  for (const [from, to] of replacements) {
    if (!text.includes(from)) throw new Error(`deploy/${name} does not say "${from}".`);
    text = text.replaceAll(from, to);
  }
  return text;
}

function makeReadable(directory) {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755);
}

/** Starts a program and waits until it takes connections. */
async function launchProgram(program, args, port, cwd) {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  let failed;
  child.once('error', (error) => (failed = error));
  const deadlineMs = performance.now() + READY_LIMIT_MS;
  while (!(await takesConnections(port))) {
    if (failed) throw failed;
    if (hasEnded() || performance.now() > deadlineMs) throw new Error(`${program} does not start.`);
    await sleep(POLL_MS);
  }
  return {
    child,
    end: async () => {
      if (hasEnded()) return;
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
    },
  };
}

async function takesConnections(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
