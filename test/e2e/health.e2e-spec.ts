import { randomUUID } from 'node:crypto';
import { Readiness } from '../../src/platform/health/readiness';
import { eventually } from '../support/billing';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

describe('health', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('names the service at the root', async () => {
    const { body } = await t.http.get('/');
    expect(body).toEqual({ message: 'Cortex Memory Auth API', version: '1.0.0', docs: '/docs' });
  });

  itAlone('inside')('is healthy, live and ready with a database', async () => {
    expect((await t.http.get('/health')).body).toEqual({
      status: 'healthy',
      version: '1.0.0',
      components: { database: { status: 'up' } },
    });
    expect((await t.http.get('/health/live')).body).toEqual({ status: 'alive' });
    expect((await t.http.get('/health/ready')).status).toBe(200);
  });

  itAlone('inside')(
    'says so when the database is gone, answers clean errors meanwhile, and recovers by itself',
    async () => {
      const user = await t.make.user();
      const database = new URL(t.databaseUrl).pathname.slice(1);
      const other = await startTestApp();
      try {
        await other.db.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS false`);
        await other.db.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [
          database,
        ]);

        t.clock.advance(1_000);
        const health = await t.http.get('/health');
        expect(health.status).toBe(503);
        expect(health.body).toMatchObject({
          status: 'unhealthy',
          components: { database: { status: 'down' } },
        });
        expect((await t.http.get('/health/ready')).status).toBe(503);
        expect((await t.http.get('/health/live')).status).toBe(200);

        const refused = await t.http.get('/auth/me', { bearer: user.token });
        expect(refused.status).toBe(503);
        expect(refused.body.code).toBe('service_unavailable');
        expect(refused.headers.get('retry-after')).toBe('1');
      } finally {
        await other.db.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true`);
        await other.close();
      }
      t.clock.advance(1_000);
      expect((await t.http.get('/health')).status).toBe(200);
      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(200);
    },
  );

  it('shows usage from the primary when the read replica fails, and is healthy', async () => {
    // One that takes connections and refuses to be read: it is used until the first read.
    const role = `reader_${randomUUID().replaceAll('-', '')}`;
    await t.db.query(`CREATE ROLE ${role} LOGIN PASSWORD 'reader'`);
    const replica = Object.assign(new URL(t.databaseUrl), { username: role, password: 'reader' }).toString();
    const other = await startTestApp({
      databaseUrl: t.databaseUrl,
      settings: { DATABASE_REPLICA_URL: replica },
    });
    const state = async (): Promise<unknown> =>
      (await other.http.get('/health')).body.components.replica.status;
    try {
      const { token: bearer } = await other.make.user();
      await eventually(async () => (await state()) === 'up');
      expect((await other.http.get('/auth/usage/stats', { bearer })).body).toMatchObject({
        total_requests: 0,
      });
      expect(other.logLines.join()).toContain('statistics are read from the primary');
      for (const what of ['timeseries', 'logs', 'export', 'forecast'])
        expect([what, (await other.http.get(`/auth/usage/${what}`, { bearer })).status]).toEqual([what, 200]);
      expect((await other.http.get('/health')).body.status).toBe('healthy');
    } finally {
      await other.close();
      await t.db.query(`DROP ROLE ${role}`);
    }
  });

  itAlone('inside')(
    'stops being ready when it drains, stays healthy, and asks clients to close once it takes no more',
    async () => {
      const draining = await startTestApp();
      try {
        const readiness = draining.app.get(Readiness);
        readiness.beginDrain();
        expect((await draining.http.get('/health/ready')).headers.get('connection')).not.toBe('close');
        readiness.sendAway();
        const ready = await draining.http.get('/health/ready');
        expect(ready.status).toBe(503);
        expect(ready.body.status).toBe('draining');
        expect(ready.headers.get('connection')).toBe('close');
        expect((await draining.http.get('/health')).status).toBe(200);
      } finally {
        await draining.close();
      }
    },
  );
});
