import { readFileSync } from 'node:fs';
import { Client } from 'pg';
import { DistributionPostgres, itWithPostgres } from '../support/distribution-postgres';
import { buildService, freePort, ServiceProcess, until } from '../system/support/service-process';

const READS = ['stats', 'timeseries', 'logs', 'export', 'forecast'];
/** Two checks, and some for a busy machine. */
const NOTICED_MS = 30_000;

jest.setTimeout(180_000);

describe('the read replica', () => {
  const servers = new DistributionPostgres();
  let service: ServiceProcess | undefined;
  let token = '';
  let key = '';

  afterAll(async () => {
    await service?.kill();
    servers.remove();
  });

  async function ask<T>(path: string, body?: object, headers: Record<string, string> = {}): Promise<T> {
    const answer = await fetch(`${service?.url}/${path}`, {
      method: body ? 'POST' : 'GET',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
    expect([path, answer.status]).toEqual([path, 200]);
    const text = await answer.text();
    return (text.startsWith('{') ? JSON.parse(text) : text) as T;
  }
  const call = (): Promise<unknown> =>
    ask(
      'api/v1/generate',
      { user_id: 'u', prompt: 'Hello', provider: 'echo' },
      { 'x-api-key': key, authorization: '' },
    );
  const requests = async (): Promise<number> =>
    (await ask<{ total_requests: number }>('api/v1/auth/usage/stats')).total_requests;
  const state = async (): Promise<unknown> =>
    (await ask<{ components: { replica?: { status: string } } }>('health')).components.replica?.status;
  const becomes = (wanted: string): Promise<void> =>
    until(async () => (await state()) === wanted, NOTICED_MS);
  /** What the replica was asked so far, but for the question whether it has all. */
  const asked = (): string[] =>
    readFileSync(servers.logFile('replica'), 'utf8')
      .split(/LOG: {2}(?:statement|execute [^:]*): /)
      .slice(1)
      .filter((statement) => !statement.includes('pg_is_in_recovery'));
  async function onReplica(sql: string): Promise<void> {
    const client = new Client({ connectionString: servers.url('postgres', 'cortex', 'replica') });
    await client.connect();
    await client.query(sql);
    await client.end();
  }

  itWithPostgres('the read replica')(
    'shows usage, decides about nothing, and is missed by nobody',
    async () => {
      buildService();
      await servers.make('primary');
      servers.run('createdb', `--maintenance-db=${servers.url('postgres', 'cortex', 'primary')}`, 'cortex');
      await servers.follow('replica', 'primary', 'log_statement=all');
      service = new ServiceProcess(servers.directory, await freePort(), {
        DATABASE_URL: servers.url('cortex', 'cortex', 'primary'),
        DATABASE_REPLICA_URL: servers.url('cortex', 'cortex', 'replica'),
      });
      await service.start();
      const login = { email: 'replica@example.com', password: 'correct horse battery staple' };
      await ask('api/v1/auth/register', login);
      ({ access_token: token } = await ask<{ access_token: string }>('api/v1/auth/login', login));
      const input = { name: 'capped', monthly_budget_usd: 5 };
      ({ api_key: key } = await ask<{ api_key: string }>('api/v1/auth/api-keys', input));
      await becomes('up');

      // Calls with a cap ask it nothing; each way to read usage asks it once.
      await call();
      await call();
      expect(asked()).toEqual([]);
      for (const what of READS) await ask(`api/v1/auth/usage/${what}`);
      expect(asked()).toHaveLength(READS.length);

      // It stands still: what is shown stands still, until that is noticed.
      await until(async () => (await requests()) === 2, NOTICED_MS);
      await onReplica('SELECT pg_wal_replay_pause()');
      await call();
      expect(await requests()).toBe(2);
      await becomes('degraded');
      expect(await requests()).toBe(3);
      await onReplica('SELECT pg_wal_replay_resume()');
      await becomes('up');

      // It is gone: the same question is answered by the primary.
      servers.stop('replica', 'immediate');
      await call();
      for (const what of READS) await ask(`api/v1/auth/usage/${what}`);
      expect(await requests()).toBe(4);
      expect(await state()).toBe('degraded');
      expect(await ask('metrics')).toMatch(/^database_replica_up 0$/m);

      await servers.start('replica', 'log_statement=all');
      await becomes('up');
      expect(await ask('metrics')).toMatch(/^database_replica_up 1$/m);
    },
  );
});
