import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { DataSource } from 'typeorm';
import { createDataSource } from '../../src/data-source';
import { type ArchivedMonth, archiveUsage } from '../../src/usage/archive/usage-archiver';
import { closeStatement } from '../../src/usage/close-statement';
import { Ledger } from '../../src/usage/ledger';
import type { UsageLog } from '../../src/usage/usage-log.entity';
import { verifyUsage } from '../../src/usage/usage-verifier';
import { startTestApp, type TestApp } from '../support/test-app';
import { usageLine } from '../support/usage-lines';

describe('archiving the ledger', () => {
  let t: TestApp;
  let owner: DataSource;
  let folder: string;
  beforeEach(async () => {
    t = await startTestApp();
    owner = await createDataSource(t.databaseUrl).initialize();
    folder = mkdtempSync(join(tmpdir(), 'cortex-auth-archive-'));
  });
  afterEach(async () => {
    await owner.destroy();
    await t.close();
    rmSync(folder, { recursive: true });
  });

  const append = (lines: readonly Partial<UsageLog>[]): Promise<unknown> => {
    const ledger = t.app.get(Ledger, { strict: false });
    return Promise.all(lines.map((line) => ledger.append(usageLine(line))));
  };
  const at = (time: string): Partial<UsageLog> => ({ createdAt: new Date(time) });
  const archive = async (before: string, now = new Date()): Promise<ArchivedMonth[]> => {
    const months: ArchivedMonth[] = [];
    for await (const month of archiveUsage(owner, before, folder, now)) months.push(month);
    return months;
  };
  const textOf = (name: string): string => gunzipSync(readFileSync(join(folder, name))).toString();
  const countLines = async (): Promise<number> => {
    const [row] = await t.db.query<{ count: number }[]>('SELECT count(*)::int AS count FROM usage_logs');
    return row?.count ?? 0;
  };

  const untilArchiverWaits = async (): Promise<void> => {
    const waiting = `SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE %'`;
    while ((await t.db.query<unknown[]>(waiting)).length === 0);
  };

  it('moves whole months into files that only their owner can read, and leaves the others', async () => {
    await append([
      ...Array.from({ length: 4_500 }, () => at('2024-01-31T23:59:59.999Z')),
      at('2024-02-01T00:00:00Z'),
      at('2024-03-01T00:00:00Z'),
    ]);
    const [january, february] = ['usage_logs_2024_01.csv.gz', 'usage_logs_2024_02.csv.gz'];
    expect(await archive('2024-03')).toEqual([
      { month: '2024-01', lines: 4_500, file: join(folder, january) },
      { month: '2024-02', lines: 1, file: join(folder, february) },
    ]);
    expect(readdirSync(folder)).toEqual([january, february]);
    expect(textOf(january).trimEnd().split('\n')).toHaveLength(4_501);
    expect(statSync(join(folder, january)).mode & 0o077).toBe(0);
    expect(await countLines()).toBe(1);
    expect(await archive('2024-03')).toEqual([]);
  });

  it('writes what COPY reads back as it was: nulls, empty texts, quotes, line breaks and all', async () => {
    const hostile = ['', '"', 'a,b', 'a\nb', '\r\n"', '=1+1', 'é𝕏', '\\N', 'NULL'];
    await append(
      hostile.flatMap((model) => [
        { ...at('2024-01-05T00:00:00Z'), model },
        { ...at('2024-01-06T00:00:00Z'), provider: model },
      ]),
    );
    const before = await t.db.query<{ row: string }[]>('SELECT t::text AS row FROM usage_logs t ORDER BY 1');
    await archive('2024-02');
    const rows = parseCopyCsv(textOf('usage_logs_2024_01.csv.gz'));
    const names = rows[0] ?? [];
    await t.db.query('CREATE TABLE restored (LIKE usage_logs)');
    for (const row of rows.slice(1)) {
      const places = row.map((_value, i) => `$${i + 1}`).join();
      const insert = ['INSERT INTO restored', `(${names.join()})`, 'VALUES', `(${places})`].join(' ');
      await t.db.query(insert, row);
    }
    expect(await t.db.query('SELECT t::text AS row FROM restored t ORDER BY 1')).toEqual(before);
    await t.db.query('DROP TABLE restored');
  });

  it('M5: leaves the sums as they were, and right', async () => {
    const user = await t.make.user();
    await append([
      at('2024-01-05T00:00:00Z'),
      { ...at('2024-01-06T00:00:00Z'), userId: user.id },
      { userId: user.id },
    ]);
    const read = async (): Promise<unknown[]> => {
      const queries = [
        'stats',
        'forecast',
        'timeseries?granularity=month&from=2024-01-01T00:00:00Z&to=2024-03-01T00:00:00Z',
      ];
      const answers = await Promise.all(
        queries.map((query) => t.http.get(`/auth/usage/${query}`, { bearer: user.token })),
      );
      return answers.map(
        ({ body }) =>
          ({ ...body, expected_requests: 0, expected_tokens: 0, expected_cost_usd: 0 }) as unknown,
      );
    };
    const before = await read();
    await archive('2024-02');
    expect(await read()).toEqual(before);
    expect(await verifyUsage(t.db)).toEqual([]);
    for (const table of ['usage_months', 'usage_hours', 'usage_pending']) {
      const column = table === 'usage_pending' ? 'amount' : 'cost_usd';
      const add = (n: number): Promise<unknown> =>
        t.db.query(`UPDATE ${table} SET ${column} = ${column} + ${n} WHERE user_id = $1`, [user.id]);
      await add(1);
      expect(new Set((await verifyUsage(t.db)).map(({ where }) => where.split(' ')[0]))).toContain(table);
      await add(-1);
    }
  });

  it('takes late lines of a month that was archived, and archives them by themselves', async () => {
    await append([at('2024-01-05T00:00:00Z'), at('2024-01-05T00:00:00Z')]);
    await archive('2024-02');
    await append([at('2024-01-07T00:00:00Z')]);
    expect(await verifyUsage(t.db)).toEqual([]);
    expect(await archive('2024-02')).toEqual([
      { month: '2024-01', lines: 1, file: join(folder, 'usage_logs_2024_01.2.csv.gz') },
    ]);
    expect(textOf('usage_logs_2024_01.csv.gz').trimEnd().split('\n')).toHaveLength(3);
    expect(await verifyUsage(t.db)).toEqual([]);
  });

  it('drops nothing when lines come while the file is written', async () => {
    const late = usageLine(at('2024-01-06T00:00:00Z'));
    await append([at('2024-01-05T00:00:00Z')]);
    const writer = t.db.dataSource.createQueryRunner();
    await writer.startTransaction();
    await writer.query(...closeStatement([{ line: late, hold: null, draw: null, capped: null }], 'first'));
    const refused = expect(archive('2024-02')).rejects.toThrow(
      'usage_logs_2024_01 holds 2 lines and its file 1',
    );
    await untilArchiverWaits();
    await writer.commitTransaction();
    await writer.release();
    await refused;
    expect(await countLines()).toBe(2);
    expect(readdirSync(folder)).toEqual([]);
    expect(await archive('2024-02')).toMatchObject([{ lines: 2 }]);
  });

  it('lets calls of other months go on while it waits for those of its own and counts their lines', async () => {
    await append([at('2024-01-05T00:00:00Z')]);
    const writer = t.db.dataSource.createQueryRunner();
    await writer.startTransaction();
    await writer.query('LOCK TABLE ONLY usage_logs_2024_01 IN ROW EXCLUSIVE MODE');
    const archived = archive('2024-02');
    await untilArchiverWaits();
    await t.db.transaction(async (tx) => {
      await tx.query(`SET LOCAL lock_timeout = '500ms'`);
      await tx.query(
        ...closeStatement([{ line: usageLine(), hold: null, draw: null, capped: null }], 'first'),
      );
    });
    await writer.commitTransaction();
    await writer.release();
    expect(await archived).toMatchObject([{ month: '2024-01', lines: 1 }]);
    expect(await countLines()).toBe(1);
  });

  it('tries again when it and a call wait for each other', async () => {
    await append([at('2024-01-05T00:00:00Z')]);
    const writer = t.db.dataSource.createQueryRunner();
    await writer.startTransaction();
    await writer.query('LOCK TABLE ONLY usage_logs IN ROW EXCLUSIVE MODE');
    const archived = archive('2024-02');
    await untilArchiverWaits();
    // So that it is the archiver that PostgreSQL ends, or whose wait runs out.
    await writer.query(`SET LOCAL deadlock_timeout = '1min'`);
    await writer.query('LOCK TABLE ONLY usage_logs_2024_01 IN ROW EXCLUSIVE MODE');
    await writer.commitTransaction();
    await writer.release();
    expect(await archived).toMatchObject([{ month: '2024-01', lines: 1 }]);
    expect(await countLines()).toBe(0);
  });

  it('never writes over a file, which may be all that is left of its lines', async () => {
    const file = join(folder, 'usage_logs_2024_01.csv.gz');
    writeFileSync(file, 'of before the database was restored');
    await append([at('2024-01-05T00:00:00Z')]);
    await expect(archive('2024-02')).rejects.toThrow(`${file} exists already`);
    expect(readFileSync(file, 'utf8')).toBe('of before the database was restored');
    expect(readdirSync(folder)).toHaveLength(1);
    expect(await countLines()).toBe(1);
    renameSync(file, `${file}.kept`);
    expect(await archive('2024-02')).toMatchObject([{ lines: 1, file }]);
  });

  it('keeps this month and the one before it, in which the period of a bill may have begun', async () => {
    const now = new Date('2025-01-31T12:00:00Z');
    await append([at('2024-11-30T23:59:59Z'), at('2024-12-31T12:00:00Z'), at('2025-01-02T00:00:00Z')]);
    for (const before of ['2025-01', '2025-02'])
      await expect(archive(before, now)).rejects.toThrow('--before 2024-12 at most');
    expect(await archive('2024-12', now)).toMatchObject([{ month: '2024-11', lines: 1 }]);
    expect(await countLines()).toBe(2);
  });

  it('drops a month without lines, and makes no file of it', async () => {
    await t.db.query(`SELECT usage_logs_make_partition('2024-01-01Z')`);
    expect(await archive('2024-02')).toEqual([{ month: '2024-01', lines: 0, file: undefined }]);
    expect(readdirSync(folder)).toEqual([]);
  });
});

/** The CSV of PostgreSQL: an empty field is null, and an empty text has quotes. */
function parseCopyCsv(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n)/g)) {
    rows.at(-1)?.push(quoted !== undefined ? quoted.replaceAll('""', '"') : plain || null);
    if (end === '\n') rows.push([]);
  }
  return rows.slice(0, -1);
}
