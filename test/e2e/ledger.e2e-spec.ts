import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { createDataSource } from '../../src/data-source';
import { type EventLine, Ledger } from '../../src/usage/ledger';
import { Partitions } from '../../src/usage/partitions';
import { UsageService } from '../../src/usage/usage.service';
import { UsageLog } from '../../src/usage/usage-log.entity';
import { verifyUsage } from '../../src/usage/usage-verifier';
import { copyDatabase } from '../support/database';
import { sqlOf } from '../support/statements';
import { startTestApp, type TestApp } from '../support/test-app';

/** Every database of these tests is held against its ledger when it is closed: `test/support/test-app.ts`. */
describe('the ledger', () => {
  let t: TestApp;
  let ledger: Ledger;
  beforeAll(async () => {
    t = await startTestApp();
    ledger = t.app.get(Ledger, { strict: false });
  });
  afterAll(() => t.close());

  it('shares statements between calls that finish together', async () => {
    const query = jest.spyOn(EntityManager.prototype, 'query');
    await Promise.all(Array.from({ length: 1_000 }, () => ledger.append(line())));
    const statements = query.mock.calls.filter(([sql]) =>
      sqlOf(sql).includes('INSERT INTO usage_logs'),
    ).length;
    query.mockRestore();
    expect(statements).toBeGreaterThan(0);
    expect(statements).toBeLessThanOrEqual(3);
  });

  it('does not let a line that the database refuses take its neighbours down', async () => {
    const userId = uuidv7();
    const lines = Array.from({ length: 100 }, (_, i) =>
      line({ userId, ...(i % 33 === 7 && { costUsd: '99999999999999' }) }),
    );
    const results = await Promise.allSettled(lines.map((one) => ledger.append(one)));
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(3);
    expect(await t.db.countBy(UsageLog, { userId })).toBe(97);
  });

  it('keeps one of two lines with the same id, and sums it up once', async () => {
    const twice = line();
    await Promise.all([ledger.append(twice), ledger.append(twice)]);
    await ledger.append(twice);
    expect(await t.db.countBy(UsageLog, { userId: twice.userId })).toBe(1);
    expect(await pending(twice.userId)).toEqual([{ meter: 'tokens', amount: '3', taken: '0' }]);
  });

  it('holds ten-thousand-dollar calls exactly', async () => {
    const userId = uuidv7();
    await ledger.append(line({ userId, costUsd: '10000.000000001' }));
    await ledger.append(line({ userId, costUsd: '99999999999.999999999' }));
    const [row] = await t.db.query<{ cost: string }[]>(
      'SELECT cost_usd AS cost FROM usage_months WHERE user_id = $1 AND scope_id = $1',
      [userId],
    );
    expect(row?.cost).toBe('100000010000.000000000');
  });

  it('answers 503 with Retry-After when its queue is full, and loses none of what it took', async () => {
    const userId = uuidv7();
    const results = await Promise.allSettled(
      Array.from({ length: 10_050 }, () => ledger.append(line({ userId }))),
    );
    const refused = results
      .filter((result) => result.status === 'rejected')
      .map(({ reason }) => reason as { code: string; retryAfterSeconds: number });
    expect(refused).toHaveLength(50);
    expect(refused[0]).toMatchObject({ status: 503, code: 'metering_busy', retryAfterSeconds: 1 });
    expect(await t.db.countBy(UsageLog, { userId })).toBe(10_000);
  });

  it('ends calls on the commit they share with reported events, also when what became of those cannot be read', async () => {
    const userId = uuidv7();
    const event = { reporterId: uuidv7(), identity: randomBytes(32), fingerprint: randomBytes(32) };
    const reported = (): EventLine => ({ line: line({ userId }), event, capped: null });
    const first = reported();
    const read = jest
      .spyOn(EntityManager.prototype, 'findBy')
      .mockRejectedValue(new Error('connection lost'));
    const [called, answered] = await Promise.allSettled([
      ledger.append(line({ userId })),
      ledger.report([first]),
    ]);
    read.mockRestore();
    expect([called.status, answered.status]).toEqual(['fulfilled', 'rejected']);
    expect(await t.db.countBy(UsageLog, { userId })).toBe(2);
    expect(await ledger.report([reported()])).toEqual([{ status: 'duplicate', lineId: first.line.id }]);
  });

  it('M5: sums up by hour and key, by month and account, and what billing has to take', async () => {
    const userId = uuidv7();
    const apiKeyId = uuidv7();
    const at = (time: string, fields: Partial<UsageLog> = {}): UsageLog =>
      line({ userId, apiKeyId, provider: 'echo', model: 'm', createdAt: new Date(time), ...fields });
    await Promise.all(
      [
        at('2031-01-31T23:59:59.999Z'),
        at('2031-02-01T00:00:00Z'),
        at('2031-02-01T00:59:59Z', { model: 'other' }),
        at('2031-02-01T00:30:00Z'),
        at('2031-02-01T01:00:00Z', { apiKeyId: null }),
      ].map((one) => ledger.append(one)),
    );
    const hours = await t.db.query<{ row: string }[]>(
      `SELECT concat_ws(' ', to_char(hour AT TIME ZONE 'UTC', 'MM-DD HH24'), api_key_id = $2, model, requests,
                        input_tokens, output_tokens, cost_usd) AS row
       FROM usage_hours WHERE user_id = $1 ORDER BY hour, model`,
      [userId, apiKeyId],
    );
    expect(hours.map(({ row }) => row)).toEqual([
      '01-31 23 t m 1 1 2 0.000300000',
      '02-01 00 t m 2 2 4 0.000600000',
      '02-01 00 t other 1 1 2 0.000300000',
      '02-01 01 f m 1 1 2 0.000300000',
    ]);
    const months = await t.db.query<{ row: string }[]>(
      `SELECT concat_ws(' ', month, scope_id = $1, requests, tokens, cost_usd) AS row
       FROM usage_months WHERE user_id = $1 ORDER BY month, scope_id <> $1`,
      [userId],
    );
    expect(months.map(({ row }) => row)).toEqual([
      '2031-01-01 t 1 3 0.000300000',
      '2031-01-01 f 1 3 0.000300000',
      '2031-02-01 t 4 12 0.001200000',
      '2031-02-01 f 3 9 0.000900000',
    ]);
    expect(await pending(userId)).toEqual([{ meter: 'tokens', amount: '15', taken: '0' }]);
  });

  it('has the parts of this month and the next three ready, and makes others when a line needs them', async () => {
    const parts = async (): Promise<string[]> => {
      const rows = await t.db.query<{ name: string }[]>(
        `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'usage_logs'::regclass`,
      );
      return rows.map(({ name }) => name);
    };
    const now = t.clock.now();
    const nameOf = (time: Date): string => `usage_logs_${time.toISOString().slice(0, 7).replace('-', '_')}`;
    const ready = [0, 1, 2, 3].map((ahead) =>
      nameOf(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1))),
    );
    expect(await parts()).toEqual(expect.arrayContaining(ready));

    const late = [line({ createdAt: new Date('2019-07-31T23:59:59Z') }), line(), line()];
    await Promise.all(late.map((one) => ledger.append(one)));
    expect(await parts()).toContain('usage_logs_2019_07');
  });

  it('takes a correction, which is a line with negative amounts', async () => {
    const wrong = line({ inputTokens: 5, tokensUsed: 5, costUsd: '0.5' });
    await ledger.append(wrong);
    const { userId, apiKeyId } = wrong;
    await ledger.append(line({ userId, apiKeyId, inputTokens: -5, tokensUsed: -5, costUsd: '-0.5' }));
    expect(await t.app.get(UsageService, { strict: false }).stats(wrong.userId)).toMatchObject({
      total: { tokens: 0, costNanoUsd: 0n },
    });
  });

  it('makes the part of a month once, however many ask for it at the same moment', async () => {
    const partitions = t.app.get(Partitions, { strict: false });
    for (let month = 0; month < 12; month++) {
      const times = [new Date(Date.UTC(2040, month, 1))];
      await Promise.all(Array.from({ length: 6 }, () => partitions.make(times)));
    }
    const made = await t.db.query(
      `SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'usage_logs_2040_%'`,
    );
    expect(made).toHaveLength(12);
  });

  it('lets two processes write the same accounts and keys at once, in any order, without waiting in a circle', async () => {
    const other = await startTestApp({ databaseUrl: t.databaseUrl });
    const otherLedger = other.app.get(Ledger, { strict: false });
    const keys = await Promise.all(Array.from({ length: 20 }, () => t.make.apiKey()));
    const lines = Array.from({ length: 2_000 }, (_, i) => {
      const { id: apiKeyId, userId } = keys[(i * 7) % keys.length] ?? { id: '', userId: '' };
      return { of: i % 2 ? ledger : otherLedger, line: line({ userId, apiKeyId }) };
    });
    const query = jest.spyOn(EntityManager.prototype, 'query');
    await Promise.all(lines.map(({ of, line: one }) => of.append(one)));
    const sent = query.mock.results.map(({ value }) => value as Promise<unknown>);
    const results = await Promise.allSettled(sent);
    query.mockRestore();
    // Behind a pooler that keeps no prepared statements, the first one is sent again.
    const isSentAgain = (error: unknown): boolean =>
      ['26000', '42P05'].includes(String((error as { code?: unknown }).code));
    expect(results.filter((result) => result.status === 'rejected' && !isSentAgain(result.reason))).toEqual(
      [],
    );
    await other.close();
  });

  it('M5: the check finds every kind of sum that is not what the ledger says', async () => {
    const one = line();
    await ledger.append(one);
    const where = async (): Promise<string[]> =>
      (await verifyUsage(t.db)).map((finding) => finding.where.split(' ')[0] ?? '');
    expect(await where()).toEqual([]);
    for (const [table, column] of [
      ['usage_hours', 'requests'],
      ['usage_months', 'cost_usd'],
      ['usage_pending', 'amount'],
    ]) {
      const add = (n: number): Promise<unknown> =>
        t.db.query(`UPDATE ${table} SET ${column} = ${column} + ${n} WHERE user_id = $1`, [one.userId]);
      await add(1);
      expect(new Set(await where())).toEqual(new Set([table]));
      await add(-1);
    }
    expect(await where()).toEqual([]);
  });

  const pending = (userId: string): Promise<unknown> =>
    t.db.query('SELECT meter, amount, taken FROM usage_pending WHERE user_id = $1', [userId]);

  it('can be distributed by user as docs/scaling.md says, and every table is named there', async () => {
    const text = readFileSync(join(__dirname, '../../docs/scaling.md'), 'utf8');
    const distributed = [...text.matchAll(/create_distributed_table\('(\w+)', 'user_id'/g)].map(
      ([, name]) => name,
    );
    expect(distributed).toHaveLength(6);
    const obstacles = await t.db.query<object[]>(
      `SELECT relname, conname AS name FROM pg_constraint JOIN pg_class ON pg_class.oid IN (conrelid, confrelid)
       WHERE contype = 'f' AND relname = ANY($1)
       UNION ALL
       SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
       WHERE NOT tgisinternal AND relname = ANY($1)
       UNION ALL
       SELECT relname, indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
       WHERE indisunique AND relname = ANY($1) AND NOT EXISTS (
         SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = 'user_id' AND attnum = ANY(indkey::int2[]))`,
      [distributed],
    );
    expect(obstacles).toEqual([]);

    const tables = await t.db.query<{ name: string }[]>(
      `SELECT relname AS name FROM pg_class
       WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`,
    );
    const staying = [...text.matchAll(/`(\w+?)(\*?)`/g)].map(([, name = '', star]) => ({
      name,
      isPrefix: star === '*',
    }));
    const isNamed = (table: string): boolean =>
      distributed.includes(table) ||
      staying.some(({ name, isPrefix }) => (isPrefix ? table.startsWith(name) : table === name));
    expect(tables.length).toBeGreaterThan(20);
    expect(tables.filter(({ name }) => !isNamed(name))).toEqual([]);
  });
});

it('a ledger from before the roll-ups keeps its lines, gets its sums, and can go back', async () => {
  const database = await copyDatabase();
  const dataSource = await createDataSource(database.url).initialize();
  try {
    await undoThrough(dataSource, 'UsageRollUps');
    await dataSource.query(
      `INSERT INTO usage_logs
       SELECT gen_random_uuid(), ('00000000-0000-7000-8000-00000000000' || n % 3)::uuid, NULL, 'generate', 'echo', 'echo',
              n, 1, n + 1, n * 0.0001, NULL, NULL, '{}', '2024-11-15'::timestamptz + n * interval '7 days'
       FROM generate_series(1, 20) AS n`,
    );
    const rows = (): Promise<unknown> =>
      dataSource.query('SELECT id, user_id, tokens_used, cost_usd, created_at FROM usage_logs ORDER BY id');
    const before = await rows();
    await dataSource.runMigrations({ transaction: 'each' });
    expect(await rows()).toEqual(before);
    expect(await verifyUsage(dataSource.manager)).toEqual([]);
    await undoThrough(dataSource, 'UsageRollUps');
    expect(await rows()).toEqual(before);
  } finally {
    await dataSource.destroy();
    await database.drop();
  }
});

/** Takes migrations back, the named one last. */
async function undoThrough(dataSource: DataSource, name: string): Promise<void> {
  for (;;) {
    const [last] = await dataSource.query<{ name: string }[]>(
      'SELECT name FROM migrations ORDER BY id DESC LIMIT 1',
    );
    await dataSource.undoLastMigration({ transaction: 'each' });
    if (last?.name.startsWith(name)) return;
  }
}

function line(fields: Partial<UsageLog> = {}): UsageLog {
  return {
    id: uuidv7(),
    userId: uuidv7(),
    apiKeyId: null,
    operation: 'test',
    provider: null,
    model: null,
    inputTokens: 1,
    outputTokens: 2,
    cachedTokens: 0,
    tokensUsed: 3,
    costUsd: '0.000300000',
    priceVersion: 0,
    ipAddress: null,
    userAgent: null,
    metadata: { path: '/test', method: 'POST', status_code: 200 },
    createdAt: new Date(),
    ...fields,
  };
}
