import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/platform/database/data-source-options';
import { queryPrepared } from '../../src/platform/database/prepared-statements';
import { startTestApp, type TestApp } from '../support/test-app';

const SQL = 'SELECT $1::int + 1 AS next';
const PREPARED_SQL = `SELECT count(*)::int AS count FROM pg_prepared_statements WHERE name LIKE 'cortex_%'`;

describe('a statement that is sent again and again', () => {
  let t: TestApp;
  let source: DataSource;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());
  beforeEach(async () => {
    // One connection, so that what was prepared is where the next statement goes.
    source = await new DataSource(dataSourceOptions(t.databaseUrl, 1)).initialize();
  });
  afterEach(() => source.destroy());

  const next = async (n: number): Promise<unknown> => (await queryPrepared(source.manager, SQL, [n]))[0];
  const preparedCount = async (): Promise<unknown> =>
    (await source.query<{ count: number }[]>(PREPARED_SQL))[0]?.count;

  it('is prepared once on its connection', async () => {
    for (const n of [1, 2, 3]) expect(await next(n)).toEqual({ next: n + 1 });
    expect(await preparedCount()).toBe(1);
  });

  it('is sent as it is from then on, when the connection it was prepared on is another one now', async () => {
    await next(1);
    // As behind a pooler that knows no prepared statements: the server's connection has none of that name.
    await source.query('DEALLOCATE ALL');
    expect(await next(2)).toEqual({ next: 3 });
    expect(await next(3)).toEqual({ next: 4 });
    expect(await preparedCount()).toBe(0);
  });

  it('is sent as it is from then on, when that connection has it already', async () => {
    await next(1);
    const [{ name } = { name: '' }] = await source.query<{ name: string }[]>(
      `SELECT name FROM pg_prepared_statements WHERE name LIKE 'cortex_%'`,
    );
    await source.destroy();
    await source.initialize();
    await source.query(`PREPARE ${name} (int) AS ${SQL}`);
    expect(await next(2)).toEqual({ next: 3 });
    expect(await next(3)).toEqual({ next: 4 });
  });

  it('goes on when a migration gives a column another type', async () => {
    await source.query('CREATE TABLE changing (value int NOT NULL)');
    await source.query('INSERT INTO changing VALUES (7)');
    const read = (): Promise<unknown[]> => queryPrepared(source.manager, 'SELECT value FROM changing', []);
    expect(await read()).toEqual([{ value: 7 }]);
    await source.query('ALTER TABLE changing ALTER value TYPE text');
    expect([await read(), await read()]).toEqual([[{ value: '7' }], [{ value: '7' }]]);
    await source.query('DROP TABLE changing');
    await next(1);
    expect(await preparedCount()).toBe(2);
  });

  it('fails as any other when it is wrong, and stays prepared', async () => {
    await expect(queryPrepared(source.manager, 'SELECT 1 / $1::int', [0])).rejects.toMatchObject({
      driverError: { code: '22012' },
    });
    await next(1);
    expect(await preparedCount()).toBe(2);
  });
});
