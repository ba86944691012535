import { DataSource, EntityManager } from 'typeorm';
import { createDataSource } from '../../src/data-source';
import { migrate } from '../../src/platform/database/migrate';
import { asApplication } from '../support/database';
import { startTestApp, type TestApp } from '../support/test-app';

/** The services of all e2e tests connect as this role; here is what it may not do. */
describe("the application's database role", () => {
  let t: TestApp;
  let service: EntityManager;
  let userId: string;
  beforeAll(async () => {
    t = await startTestApp();
    service = t.app.get(EntityManager);
    const { key, ...made } = await t.make.apiKey();
    userId = made.userId;
    const call = { user_id: 'somebody', prompt: 'Hello', provider: 'echo' };
    expect((await t.http.post('/generate', { key, body: call })).status).toBe(200);
    const { token } = await t.make.user();
    expect((await t.http.post('/auth/api-keys', { bearer: token, body: { name: 'mine' } })).status).toBe(200);
    for (const table of ['usage_logs', 'audit_events', 'audit_details', 'audit_head'])
      expect({ table, rows: await t.db.query(`SELECT FROM ${table} LIMIT 1`) }).toEqual({
        table,
        rows: [{}],
      });
  });
  afterAll(() => t.close());

  it('is not the owner of the tables, and no superuser', async () => {
    const [role] = await service.query<Record<string, unknown>[]>(
      `SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls AS can_more,
              EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid) AS owns
       FROM pg_roles WHERE rolname = current_user`,
    );
    expect(role).toEqual({ can_more: false, owns: false });
  });

  it.each([
    ...['id', 'user_id', 'api_key_id', 'operation', 'provider', 'model'],
    ...['input_tokens', 'output_tokens', 'tokens_used', 'cost_usd', 'created_at'],
  ])('cannot change %s of a line of the ledger', async (column) => {
    await expect(service.query(`UPDATE usage_logs SET ${column} = ${column}`)).rejects.toThrow(
      'permission denied',
    );
  });

  it.each([
    'DELETE FROM usage_logs',
    'TRUNCATE usage_logs',
    'ALTER TABLE usage_logs ADD made_up text',
    'DROP TABLE usage_logs CASCADE',
    'DELETE FROM audit_events',
    'TRUNCATE audit_events CASCADE',
    `UPDATE audit_events SET action = 'user.login'`,
    `UPDATE audit_events SET mac = ''`,
    `UPDATE audit_events SET subject_id = NULL`,
    'ALTER TABLE audit_events DISABLE TRIGGER ALL',
    `UPDATE audit_details SET ip = '203.0.113.1'`,
    'DELETE FROM audit_head',
    'DELETE FROM prices',
    'UPDATE prices SET request_usd = 0',
    'DELETE FROM migrations',
    'CREATE TABLE made_up ()',
    'CREATE SCHEMA made_up',
    'SET ROLE cortex',
  ])('cannot %s', async (statement) => {
    await expect(service.query(statement)).rejects.toThrow(/permission denied|must be owner/);
  });

  it('cannot reach the lines by the part of the table that holds them', async () => {
    const parts = await t.db.query<{ name: string }[]>(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'usage_logs'::regclass`,
    );
    expect(parts.length).toBeGreaterThan(3);
    for (const { name } of parts) {
      const statements = [`SELECT FROM ${name}`, `DELETE FROM ${name}`, `DROP TABLE ${name}`];
      for (const statement of statements)
        await expect(service.query(statement)).rejects.toThrow(/permission denied|must be owner/);
    }
  });

  it('can erase of a line what is known of persons, and the personal part of an event', async () => {
    const erase = `UPDATE usage_logs SET ip_address = NULL, user_agent = NULL, metadata = '{}' WHERE user_id = $1`;
    const [, lines] = await service.query<[unknown, number]>(erase, [userId]);
    expect(lines).toBe(1);
    const [, parts] = await service.query<[unknown, number]>('DELETE FROM audit_details');
    expect(parts).toBeGreaterThan(0);
  });

  it('gets its rights on tables that later migrations make', async () => {
    await t.db.query('CREATE TABLE later (id int)');
    await expect(service.query('SELECT FROM later')).rejects.toThrow('permission denied');
    const owner = await createDataSource(t.databaseUrl).initialize();
    await migrate(owner, asApplication(t.databaseUrl));
    await owner.destroy();
    await service.query('INSERT INTO later VALUES (1)');
    await service.query('UPDATE later SET id = 2');
    await service.query('DELETE FROM later');
    await t.db.query('DROP TABLE later');
  });

  it('gets its rights in a database that one role has owned and used so far', async () => {
    const owner = await createDataSource(t.databaseUrl).initialize();
    await owner.query('REVOKE ALL ON ALL TABLES IN SCHEMA public, pgboss FROM cortex_app');
    await owner.query('REVOKE ALL ON SCHEMA public, pgboss FROM cortex_app');
    await owner.query(
      'REVOKE ALL ON FUNCTION usage_logs_make_partition, usage_holds_end, usage_holds_draw FROM cortex_app, PUBLIC',
    );
    await expect(service.query('SELECT FROM users')).rejects.toThrow('permission denied');
    await migrate(owner, asApplication(t.databaseUrl));
    await owner.destroy();
    await service.query(
      `SELECT usage_logs_make_partition(now()) FROM usage_holds_end('{}', '{}'), usage_holds_draw('{}', '{}', '{}', '{}')`,
    );
    const { token } = await t.make.user();
    const body = { name: 'after' };
    expect((await t.http.post('/auth/api-keys', { bearer: token, body })).status).toBe(200);
    await t.settled();
  });

  it('loses the right to make things that it or everybody has', async () => {
    await t.db.query('GRANT CREATE ON SCHEMA public TO cortex_app WITH GRANT OPTION');
    await t.db.query('GRANT CREATE ON SCHEMA public, pgboss TO PUBLIC');
    const owner = await createDataSource(t.databaseUrl).initialize();
    await migrate(owner, asApplication(t.databaseUrl));
    await owner.destroy();
    for (const schema of ['public', 'pgboss'])
      await expect(service.query(`CREATE TABLE ${schema}.made_up ()`)).rejects.toThrow('permission denied');
  });

  it.each([
    {
      place: 'SCHEMA public',
      give: 'ALTER SCHEMA public OWNER TO cortex_app',
      take: 'ALTER SCHEMA public OWNER TO pg_database_owner',
    },
    {
      place: 'DATABASE',
      give: `DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO cortex_app', current_database()); END $$`,
      take: `DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM cortex_app', current_database()); END $$`,
    },
  ])('is refused when it can make things in a $place all the same', async ({ place, give, take }) => {
    await t.db.query(give);
    const owner = await createDataSource(t.databaseUrl).initialize();
    await expect(migrate(owner, asApplication(t.databaseUrl))).rejects.toThrow(
      `"cortex_app", which can create in ${place}`,
    );
    await t.db.query(take);
    await migrate(owner, asApplication(t.databaseUrl));
    await owner.destroy();
  });

  it("cannot have the owner's function for the ledger's parts run what stands in public", async () => {
    await t.db.query(
      `CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'CREATE TABLE public.stolen ()' $$`,
    );
    await service.query(`SELECT usage_logs_make_partition('2024-01-01Z')`);
    const [made] = await t.db.query<unknown[]>(
      `SELECT to_regclass('public.usage_logs_2024_01')::text AS part, to_regclass('public.stolen')::text AS stolen`,
    );
    expect(made).toEqual({ part: 'usage_logs_2024_01', stolen: null });
    await t.db.query('DROP FUNCTION public.format(text, text)');
  });

  it('is all that the service needs when migrations are run apart from it', async () => {
    const other = await startTestApp({
      databaseUrl: t.databaseUrl,
      settings: { MIGRATION_DATABASE_URL: '' },
    });
    expect(other.env.MIGRATION_DATABASE_URL).toBeUndefined();
    const { token } = await t.make.user();
    expect((await other.http.get('/auth/usage/stats', { bearer: token })).status).toBe(200);
    await other.close();
  });

  it('is given no rights when it is the owner itself', async () => {
    const owner = await new DataSource({ type: 'postgres', url: t.databaseUrl }).initialize();
    const rights = (): Promise<unknown> =>
      owner.query(
        `SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1`,
      );
    const before = await rights();
    await migrate(owner, t.databaseUrl);
    expect(await rights()).toEqual(before);
    await owner.destroy();
  });
});
