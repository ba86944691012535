import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { ApiKey } from '../../src/api-keys/api-key.entity';
import { monthOf } from '../../src/usage/caps';
import { closeStatement } from '../../src/usage/close-statement';
import { Holds } from '../../src/usage/holds';
import { Lease } from '../../src/usage/lease';
import { Leases } from '../../src/usage/leases';
import { openAllConnections, watchCap } from '../support/cap-watch';
import { FakeProvider } from '../support/fake-providers';
import type { Answer } from '../support/http';
import { sqlOf } from '../support/statements';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';
import { usageLine } from '../support/usage-lines';
import { until } from '../system/support/service-process';

const LIMIT_MS = 10_000;

/** As many tokens as bytes, so that a call consumes just what it sets aside: 10 tokens, 0.001 USD. */
const CALL = { user_id: 'end-user-7', prompt: 'q~z7%', provider: 'echo' };

describe('room that is held ahead for busy keys', () => {
  let t: TestApp;
  let other: TestApp;
  let fake: FakeProvider;
  beforeAll(async () => {
    fake = await FakeProvider.start('openai');
    const settings = { OPENAI_API_KEY: fake.apiKey, OPENAI_BASE_URL: fake.baseUrl };
    t = await startTestApp({ settings });
    other = await startTestApp({ settings, databaseUrl: t.databaseUrl });
  });
  afterAll(async () => {
    await other.close();
    await t.close();
    await fake.close();
  });

  const generate = (key: string, by: TestApp = t, fields: object = {}): Promise<Answer> =>
    by.http.post('/generate', { key, body: { ...CALL, ...fields } });
  const busyKey = async (fields: Partial<ApiKey>): ReturnType<TestApp['make']['apiKey']> => {
    const { id: userId } = await t.make.user({ tierOverride: 'internal' });
    return t.make.apiKey({ userId, rateLimitPerMinute: 1_000_000, ...fields });
  };
  const month = async (scopeId: string): Promise<Record<string, unknown> | undefined> =>
    (
      await t.db.query<Record<string, unknown>[]>(
        'SELECT requests::int, tokens::int, held_tokens::int, held_usd::float FROM usage_months WHERE scope_id = $1',
        [scopeId],
      )
    )[0];
  /** Calls in turn until more is held than they could themselves. */
  const untilHeldAhead = async ({ id, key }: ApiKey & { key: string }): Promise<void> => {
    do await generate(key);
    while (await nothingHeld(id));
  };
  const nothingHeld = async (scopeId: string): Promise<boolean> =>
    (await month(scopeId))?.['held_tokens'] === 0;

  itAlone('inside')(
    'lets calls run without a statement of their own, and holds nothing after them',
    async () => {
      const apiKey = await busyKey({ monthlyBudgetUsd: '100' });
      await untilHeldAhead(apiKey);
      const query = jest.spyOn(t.app.get(EntityManager), 'query');
      const answers = await Promise.all([1, 2, 3].map(() => generate(apiKey.key)));
      // The next lease may be asked for meanwhile, by the other statement.
      const opened = query.mock.calls.filter(([sql]) => sqlOf(sql).includes('is_for_all'));
      query.mockRestore();
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
      expect(opened).toEqual([]);
      await until(() => nothingHeld(apiKey.id), LIMIT_MS);
      expect(await t.db.query('SELECT 1 FROM usage_holds WHERE user_id = $1', [apiKey.userId])).toEqual([]);
    },
  );

  it('M4: under load over two services, no more runs than a budget has room for, and in the end as much', async () => {
    const room = 3_000;
    const budget = '3.000500';
    const drawing = jest.spyOn(Leases.prototype, 'draw');
    const apiKey = await busyKey({ monthlyBudgetUsd: budget });
    await Promise.all([t, other].map((app) => openAllConnections(app)));
    const watch = await watchCap(t.databaseUrl, apiKey.id, budget);
    const statuses = { 200: 0, 402: 0 };
    const call = async (by: TestApp): Promise<number> => {
      const { status } = await generate(apiKey.key, by);
      statuses[status as keyof typeof statuses]++;
      return status;
    };
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        while ((await call(i % 2 ? t : other)) === 200);
      }),
    );
    const drawn = drawing.mock.results.filter(({ value }) => value !== null).length;
    drawing.mockRestore();
    expect(drawn).toBeGreaterThan(room / 2);
    // What was held for nobody in the end.
    await until(() => nothingHeld(apiKey.id), LIMIT_MS);
    while ((await call(t)) === 200);
    expect(statuses).toEqual({ 200: room, 402: expect.any(Number) as number });
    expect(await watch.end()).toEqual({ looked: expect.any(Number) as number, broken: 0 });
    expect(await month(apiKey.id)).toEqual({
      requests: room,
      tokens: room * 10,
      held_tokens: 0,
      held_usd: 0,
    });
  });

  itAlone('inside')('holds for a call that takes long no more than that may consume', async () => {
    const apiKey = await busyKey({ monthlyBudgetUsd: '100' });
    await untilHeldAhead(apiKey);
    const drawn = jest.spyOn(Lease.prototype, 'draw');
    let answer: (value?: unknown) => void = () => undefined;
    fake.gate = new Promise((resolve) => (answer = resolve));
    const asked = generate(apiKey.key, t, { provider: 'openai', max_tokens: 5 });
    await until(() => drawn.mock.calls.length > 0, LIMIT_MS);
    const most = Number(drawn.mock.calls[0]?.[0].most.tokens);
    const heldForIt = until(async () => (await month(apiKey.id))?.['held_tokens'] === most, LIMIT_MS);
    await heldForIt.finally(() => {
      fake.gate = undefined;
      answer();
    });
    expect(drawn.mock.results).toEqual([{ type: 'return', value: true }]);
    drawn.mockRestore();
    expect((await asked).status).toBe(200);
    await until(() => nothingHeld(apiKey.id), LIMIT_MS);
    expect(await t.db.query('SELECT 1 FROM usage_holds WHERE user_id = $1', [apiKey.userId])).toEqual([]);
  });

  it('holds a lowered budget against the next call, whatever is held ahead', async () => {
    const { id: userId, token: bearer } = await t.make.user({ tierOverride: 'internal' });
    const apiKey = await busyKey({ userId, monthlyBudgetUsd: '100' });
    await untilHeldAhead(apiKey);
    const set = await t.http.put('/auth/usage/budget', { bearer, body: { monthly_budget_usd: 0.008 } });
    expect(set.status).toBe(200);
    expect(await generate(apiKey.key)).toMatchObject({ status: 402, body: { code: 'budget_exceeded' } });
  });

  itAlone('inside')('gives back to it what failed calls had drawn', async () => {
    const apiKey = await busyKey({ monthlyBudgetUsd: '100' });
    await untilHeldAhead(apiKey);
    const drawn = jest.spyOn(Lease.prototype, 'draw');
    const given = jest.spyOn(Lease.prototype, 'giveBack');
    fake.behaviour = 'server_error';
    const failed = await generate(apiKey.key, t, { provider: 'openai', max_tokens: 5 });
    fake.behaviour = 'ok';
    expect(failed.status).toBeGreaterThanOrEqual(500);
    expect(given.mock.calls).toEqual(drawn.mock.calls.map(([{ most }]) => [most]));
    expect(given).toHaveBeenCalledTimes(1);
    drawn.mockRestore();
    given.mockRestore();
    await until(() => nothingHeld(apiKey.id), LIMIT_MS);
  });

  itAlone('inside')(
    'keeps held what a call had drawn whose line may be there or not, until it ends',
    async () => {
      const apiKey = await busyKey({ monthlyBudgetUsd: '100' });
      await untilHeldAhead(apiKey);
      const given = jest.spyOn(Lease.prototype, 'giveBack');
      const db = t.app.get(EntityManager);
      const query = db.query.bind(db);
      const failing = jest.spyOn(db, 'query').mockImplementation((sql, ...parameters): Promise<unknown> => {
        if (!sqlOf(sql).includes('INSERT INTO usage_logs')) return query(sql, ...parameters);
        return Promise.reject(new Error('Connection terminated unexpectedly'));
      });
      const { status } = await generate(apiKey.key);
      failing.mockRestore();
      expect(status).toBe(503);
      expect(given.mock.calls).toEqual([[{ tokens: 0n, costNanoUsd: 0n }]]);
      given.mockRestore();
      await until(() => nothingHeld(apiKey.id), LIMIT_MS);
    },
  );

  itAlone('inside')('lets go of one whose answer was lost', async () => {
    const apiKey = await busyKey({ monthlyBudgetUsd: '100' });
    expect((await generate(apiKey.key)).status).toBe(200);
    const db = t.app.get(EntityManager);
    const query = db.query.bind(db);
    let lost = 0;
    const losing = jest
      .spyOn(db, 'query')
      .mockImplementation(async (sql, ...parameters): Promise<unknown> => {
        const rows: unknown = await query(sql, ...parameters);
        if (!sqlOf(sql).includes('judged AS')) return rows;
        lost++;
        throw new Error('Connection terminated unexpectedly');
      });
    await untilHeldAhead(apiKey);
    losing.mockRestore();
    expect(lost).toBeGreaterThan(0);
    await t.app.get(Holds, { strict: false }).sweep();
    expect(await month(apiKey.id)).toMatchObject({ held_tokens: 0, held_usd: 0 });
  });

  describe('what a line takes off a hold that it shares', () => {
    const openHold = async (): Promise<{ userId: string; apiKeyId: string; id: string }> => {
      const apiKey = await busyKey({});
      expect((await generate(apiKey.key)).status).toBe(200);
      const now = t.clock.now();
      const hold = { userId: apiKey.userId, apiKeyId: apiKey.id, id: uuidv7() };
      const isGranted = await t.app.get(Holds, { strict: false }).openAhead({
        ...hold,
        month: monthOf(now),
        most: { tokens: 80n, costNanoUsd: 8_000_000n },
        caps: { apiKeyUsd: 9_000_000n, accountUsd: null, tokens: null },
        expiresAt: new Date(now.getTime() + 60_000),
      });
      expect(isGranted).toBe(true);
      return hold;
    };
    const taken = { tokens: 10n, costNanoUsd: 1_000_000n };
    const lineOf = (hold: { userId: string; apiKeyId: string }): ReturnType<typeof usageLine> =>
      usageLine({ ...hold, id: uuidv7(), inputTokens: 5, outputTokens: 5, tokensUsed: 10, costUsd: '0.001' });

    it('is taken once, however often the statement is sent', async () => {
      const hold = await openHold();
      const lines = [lineOf(hold), lineOf(hold)];
      const closings = lines.map((line) => ({ line, hold: null, draw: { hold, taken }, capped: null }));
      await t.db.query(...closeStatement(closings.slice(0, 1), 'first'));
      await t.db.query(...closeStatement(closings, 'again'));
      await t.db.query(...closeStatement(closings, 'again'));
      for (const scopeId of [hold.userId, hold.apiKeyId])
        expect(await month(scopeId)).toEqual({
          requests: 3,
          tokens: 30,
          held_tokens: 60,
          held_usd: 0.006,
        });
      await t.app.get(Holds, { strict: false }).release(hold);
      expect(await month(hold.apiKeyId)).toMatchObject({ held_tokens: 0, held_usd: 0 });
    });

    it('is taken at most once where there is no line, also in one statement with the end of the hold', async () => {
      const hold = await openHold();
      const held = async (): Promise<unknown> =>
        (
          await t.db.query<unknown[]>('SELECT tokens::int, cost_usd::float FROM usage_holds WHERE id = $1', [
            hold.id,
          ])
        )[0];
      const part = { line: null, hold: null, draw: { hold, taken }, capped: null };
      await t.db.query(...closeStatement([part], 'first'));
      expect(await held()).toEqual({ tokens: 70, cost_usd: 0.007 });
      expect(await month(hold.apiKeyId)).toMatchObject({ held_tokens: 70, held_usd: 0.007 });
      await t.db.query(...closeStatement([part], 'again'));
      expect(await held()).toEqual({ tokens: 70, cost_usd: 0.007 });
      const end = { line: null, hold, draw: null, capped: null };
      await t.db.query(...closeStatement([part, part, end], 'first'));
      expect(await held()).toBeUndefined();
      expect(await month(hold.apiKeyId)).toMatchObject({ requests: 1, held_tokens: 0, held_usd: 0 });
    });

    it('is taken off no month any more when the hold is gone', async () => {
      const hold = await openHold();
      await t.app.get(Holds, { strict: false }).release(hold);
      const draw = { hold, taken };
      await t.db.query(...closeStatement([{ line: lineOf(hold), hold: null, draw, capped: null }], 'first'));
      expect(await month(hold.apiKeyId)).toEqual({ requests: 2, tokens: 20, held_tokens: 0, held_usd: 0 });
    });

    it('is found by its key, also when PostgreSQL took the table for empty', async () => {
      await t.db.query('VACUUM ANALYZE usage_holds');
      const hold = await openHold();
      const [before, after] = await t.db.transaction(async (tx) => {
        const scans = async (): Promise<{ seq: number; updated: number } | undefined> =>
          (
            await tx.query<{ seq: number; updated: number }[]>(
              `SELECT seq_scan::int AS seq, n_tup_upd::int AS updated FROM pg_stat_xact_user_tables WHERE relname = 'usage_holds'`,
            )
          )[0];
        const start = await scans();
        const draw = { hold, taken };
        await tx.query(...closeStatement([{ line: lineOf(hold), hold: null, draw, capped: null }], 'first'));
        return [start, await scans()];
      });
      expect(after).toEqual({ seq: before?.seq, updated: (before?.updated ?? 0) + 1 });
    });
  });
});
