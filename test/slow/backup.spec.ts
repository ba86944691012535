import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildService, freePort, ServiceProcess } from '../system/support/service-process';

/*
 * Against a PostgreSQL of the distribution, which brings the client programs that the embedded one lacks; its major
 * version is often older, which shows that nothing newer is needed.
 */
const versions = '/usr/lib/postgresql';
const installed = existsSync(versions) ? readdirSync(versions).filter((name) => /^\d+$/.test(name)) : [];
const usable = installed.filter((name) => existsSync(join(versions, name, 'bin', 'initdb')));
const bin = join(versions, usable.sort((a, b) => Number(b) - Number(a))[0] ?? 'none', 'bin');
const hasPostgres = usable.length > 0;
if (!hasPostgres)
  process.stderr.write(`Skipped: backup and restore, for there is no PostgreSQL in ${versions}.\n`);

/** PostgreSQL does not run as root. */
const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;
const base = mkdtempSync(join(tmpdir(), 'cortex-auth-backup-'));
const cluster = join(base, 'cluster');
const services: ServiceProcess[] = [];

jest.setTimeout(180_000);

/** Runs one of PostgreSQL's programs; @throws Error with what it said when it fails. */
function postgres(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(join(bin, program), args, { ...nobody, cwd: base, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
}

async function serve(directory: string, settings: Record<string, string>): Promise<ServiceProcess> {
  const service = new ServiceProcess(directory, await freePort(), settings);
  services.push(service);
  await service.start();
  return service;
}

async function post<T>(service: ServiceProcess, path: string, body: object, bearer = ''): Promise<T> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${bearer}` };
  const url = `${service.url}/api/v1/${path}`;
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  expect([path, answer.status]).toEqual([path, 200]);
  return (await answer.json()) as T;
}

const generate = (service: ServiceProcess, key: string): Promise<unknown> =>
  post(service, 'generate', { user_id: 'u', prompt: 'Hello', provider: 'echo' }, key);

afterAll(async () => {
  for (const service of services) await service.kill();
  if (existsSync(join(cluster, 'postmaster.pid')))
    postgres('pg_ctl', '-D', cluster, '-m', 'fast', '-w', 'stop');
  rmSync(base, { recursive: true, force: true });
});

(hasPostgres ? it : it.skip)(
  'a dump of a database with two roles that is restored has the accounts, keys, usage and audit log, and both verify',
  async () => {
    buildService();
    chmodSync(base, 0o755);
    if (nobody) chownSync(base, nobody.uid, nobody.gid);
    const port = String(await freePort());
    postgres('initdb', '-D', cluster, '-U', 'cortex', '-A', 'trust', '-E', 'UTF8');
    const listening = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off`;
    postgres('pg_ctl', '-D', cluster, '-w', '-l', join(base, 'log'), '-o', listening, 'start');
    const url = (name: string, role = 'cortex_owner'): string =>
      `postgres://${role}@127.0.0.1:${port}/${name}`;
    const settings = (name: string): Record<string, string> => ({
      MIGRATION_DATABASE_URL: url(name),
      DATABASE_URL: url(name, 'cortex_app'),
    });
    for (const role of ['cortex_owner', 'cortex_app'])
      postgres('createuser', '--host=127.0.0.1', `--port=${port}`, '--username=cortex', role);
    const createDatabase = (name: string): void => {
      postgres('createdb', `--maintenance-db=${url('postgres', 'cortex')}`, '--owner=cortex_owner', name);
    };
    const login = { email: 'backup@example.com', password: 'correct horse battery staple' };

    createDatabase('live');
    const live = await serve(base, settings('live'));
    await post(live, 'auth/register', login);
    const { access_token: token } = await post<{ access_token: string }>(live, 'auth/login', login);
    const { api_key: key } = await post<{ api_key: string }>(live, 'auth/api-keys', { name: 'k' }, token);
    for (let i = 0; i < 3; i++) await generate(live, key);

    const dump = join(base, 'cortex.dump');
    postgres('pg_dump', '--format=custom', `--file=${dump}`, url('live'));
    await generate(live, key);
    await live.kill();
    createDatabase('restored');
    postgres('pg_restore', '--exit-on-error', '--no-owner', `--dbname=${url('restored')}`, dump);

    for (const command of ['usage-verify.js', 'audit-verify.js']) {
      const verified = spawnSync(process.execPath, [join(__dirname, '../../dist/src/admin', command)], {
        cwd: base,
        env: { PATH: process.env['PATH'], DATA_DIR: base, ...settings('restored') },
        encoding: 'utf8',
      });
      expect([command, verified.status, verified.stderr]).toEqual([command, 0, '']);
    }
    const restored = await serve(base, settings('restored'));
    await generate(restored, key);
    const { access_token: again } = await post<{ access_token: string }>(restored, 'auth/login', login);
    const stats = await fetch(`${restored.url}/api/v1/auth/usage/stats`, {
      headers: { authorization: `Bearer ${again}` },
    });
    // Three before the dump and one now; what came between is lost, as with any dump.
    expect(await stats.json()).toMatchObject({ total_requests: 4 });
  },
);
