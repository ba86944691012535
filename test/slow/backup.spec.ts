import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { DistributionPostgres, itWithPostgres } from '../support/distribution-postgres';
import { buildService, freePort, ServiceProcess } from '../system/support/service-process';

const root = join(__dirname, '../..');
const servers = new DistributionPostgres();
const services: ServiceProcess[] = [];

jest.setTimeout(180_000);

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

/** Runs an operator's command as a container of the service would. */
function command(name: string, settings: Record<string, string>): void {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'dist/src/admin', name)], {
    cwd: servers.directory,
    env: { PATH: process.env['PATH'], DATA_DIR: servers.directory, ...settings },
    encoding: 'utf8',
  });
  expect([name, status, stderr]).toEqual([name, 0, '']);
}

const generate = (service: ServiceProcess, key: string): Promise<unknown> =>
  post(service, 'generate', { user_id: 'u', prompt: 'Hello', provider: 'echo' }, key);

afterAll(async () => {
  for (const service of services) await service.kill();
  servers.remove();
});

itWithPostgres('backup and restore')(
  'a dump of a database with two roles that is restored has the accounts, keys, usage and audit log, and both verify',
  async () => {
    buildService();
    await servers.make('server');
    const url = (name: string, role = 'cortex_owner'): string => servers.url(name, role, 'server');
    const settings = (name: string): Record<string, string> => ({
      MIGRATION_DATABASE_URL: url(name),
      DATABASE_URL: url(name, 'cortex_app'),
    });
    const { port } = new URL(url('postgres'));
    servers.run('createuser', '--host=127.0.0.1', `--port=${port}`, '--username=cortex', 'cortex_owner');
    // As docker-compose.yml makes it.
    const password = { APPLICATION_PASSWORD: "it's \\ a password" };
    servers.runInitScript('server', join(root, 'deploy/application-role.sh'), password);
    const createDatabase = (name: string): void => {
      servers.run('createdb', `--maintenance-db=${url('postgres', 'cortex')}`, '--owner=cortex_owner', name);
    };
    const login = { email: 'backup@example.com', password: 'correct horse battery staple' };

    createDatabase('live');
    command('migrate.js', settings('live'));
    const live = await serve(servers.directory, { DATABASE_URL: url('live', 'cortex_app') });
    await post(live, 'auth/register', login);
    const { access_token: token } = await post<{ access_token: string }>(live, 'auth/login', login);
    const { api_key: key } = await post<{ api_key: string }>(live, 'auth/api-keys', { name: 'k' }, token);
    for (let i = 0; i < 3; i++) await generate(live, key);

    const dump = join(servers.directory, 'cortex.dump');
    servers.run('pg_dump', '--format=custom', `--file=${dump}`, url('live'));
    await generate(live, key);
    await live.kill();
    createDatabase('restored');
    servers.run('pg_restore', '--exit-on-error', '--no-owner', `--dbname=${url('restored')}`, dump);

    for (const verify of ['usage-verify.js', 'audit-verify.js']) command(verify, settings('restored'));
    const restored = await serve(servers.directory, settings('restored'));
    await generate(restored, key);
    const { access_token: again } = await post<{ access_token: string }>(restored, 'auth/login', login);
    const stats = await fetch(`${restored.url}/api/v1/auth/usage/stats`, {
      headers: { authorization: `Bearer ${again}` },
    });
    // Three before the dump and one now; what came between is lost, as with any dump.
    expect(await stats.json()).toMatchObject({ total_requests: 4 });
  },
);
