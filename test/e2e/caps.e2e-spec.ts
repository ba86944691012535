import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { ApiKey } from '../../src/api-keys/api-key.entity';
import { monthOf } from '../../src/usage/caps';
import { Holds } from '../../src/usage/holds';
import { openAllConnections, watchCap } from '../support/cap-watch';
import { FakeProvider } from '../support/fake-providers';
import type { Answer } from '../support/http';
import { sqlOf } from '../support/statements';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

/** As many tokens as bytes, so that a call consumes just what it set aside: 10 tokens, 0.001 USD. */
const PROMPT = 'q~z7%';
const CALL_TOKENS = 10;
const ROUNDS = Math.max(1, Number.parseInt(process.env['CAP_ROUNDS'] ?? '2', 10));

jest.setTimeout(60_000 + ROUNDS * 5_000);

describe('budgets and quotas', () => {
  let t: TestApp;
  let other: TestApp;
  let fake: FakeProvider;
  beforeAll(async () => {
    fake = await FakeProvider.start('openai');
    const settings = { OPENAI_API_KEY: fake.apiKey, OPENAI_BASE_URL: fake.baseUrl };
    t = await startTestApp({ settings });
    other = await startTestApp({ settings, databaseUrl: t.databaseUrl });
  });
  afterEach(() => {
    t.clock.reset();
    fake.behaviour = 'ok';
  });
  afterAll(async () => {
    await other.close();
    await t.close();
    await fake.close();
  });

  const generate = (key: string, fields: object = {}, by: TestApp = t): Promise<Answer> =>
    by.http.post('/generate', {
      key,
      body: { user_id: 'end-user-7', prompt: PROMPT, provider: 'echo', ...fields },
    });
  const starterKey = async (fields: Partial<ApiKey> = {}): ReturnType<TestApp['make']['apiKey']> => {
    const { id: userId } = await t.make.user({ tierOverride: 'starter' });
    return t.make.apiKey({ userId, rateLimitPerMinute: 1_000, ...fields });
  };
  const month = async (userId: string, scopeId = userId): Promise<Record<string, string> | undefined> =>
    (
      await t.db.query<Record<string, string>[]>(
        'SELECT requests, tokens, held_tokens, held_usd FROM usage_months WHERE user_id = $1 AND scope_id = $2',
        [userId, scopeId],
      )
    )[0];

  it.each(['the key', 'the account'])(
    `M4: of 200 calls at once over two services, the ten run that the budget of %s has room for; ${ROUNDS} rounds`,
    async (whose) => {
      await Promise.all([t, other].map((app) => openAllConnections(app)));
      for (let round = 0; round < ROUNDS; round++) {
        const user = await t.make.user({
          tierOverride: 'starter',
          ...(whose === 'the account' && { monthlyBudgetUsd: '0.010500' }),
        });
        const budget = whose === 'the key' ? { monthlyBudgetUsd: '0.010500' } : {};
        const apiKey = await t.make.apiKey({ userId: user.id, rateLimitPerMinute: 1_000, ...budget });
        const watch = await watchCap(t.databaseUrl, user.id, '0.0105');

        const answers = await Promise.all(
          Array.from({ length: 200 }, (_, i) => generate(apiKey.key, {}, i % 2 ? t : other)),
        );
        const statuses = answers.map(({ status }) => status);
        expect(statuses.filter((status) => status === 200)).toHaveLength(10);
        expect(statuses.filter((status) => status === 402)).toHaveLength(190);
        expect(await watch.end()).toEqual({ looked: expect.any(Number) as number, broken: 0 });
        expect(await month(user.id)).toEqual({
          requests: '10',
          tokens: `${10 * CALL_TOKENS}`,
          held_tokens: '0',
          held_usd: '0.000000000',
        });
      }
    },
  );

  it(`M4: of 50 calls at once over two services, the ten run that the tokens of the plan have room for; ${ROUNDS} rounds`, async () => {
    await Promise.all([t, other].map((app) => openAllConnections(app)));
    const prompt = PROMPT.repeat(100);
    for (let round = 0; round < ROUNDS; round++) {
      const { key, userId } = await t.make.apiKey();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) => generate(key, { prompt }, i % 2 ? t : other)),
      );
      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(10);
      expect(statuses.filter((status) => status === 402)).toHaveLength(40);
      expect(await month(userId)).toMatchObject({ requests: '10', tokens: '10000', held_tokens: '0' });
    }
  });

  it('holds room for the first call of a key also when the month of its account has begun', async () => {
    const first = await starterKey({ monthlyBudgetUsd: '0.001500' });
    expect((await generate(first.key)).status).toBe(200);
    const second = await t.make.apiKey({ userId: first.userId, monthlyBudgetUsd: '0.001500' });
    expect((await generate(second.key)).status).toBe(200);
    const months = await t.db.query<unknown[]>(
      'SELECT scope_id, requests, held_tokens, held_usd::float FROM usage_months WHERE user_id = $1',
      [first.userId],
    );
    const month = (scopeId: string, requests: string): unknown => ({
      scope_id: scopeId,
      requests,
      held_tokens: '0',
      held_usd: 0,
    });
    expect(months).toHaveLength(3);
    expect(months).toEqual(
      expect.arrayContaining([month(first.userId, '2'), month(first.id, '1'), month(second.id, '1')]),
    );
  });

  it('says which budget is in the way, how much is used and when it resets', async () => {
    t.clock.advance(Date.parse('2031-12-15T12:00:00Z') - t.clock.nowMs());
    const apiKey = await starterKey({ monthlyBudgetUsd: '0.001500' });
    expect((await generate(apiKey.key)).status).toBe(200);
    const refused = await generate(apiKey.key);
    expect(refused).toMatchObject({ status: 402, body: { code: 'budget_exceeded' } });
    const { detail } = refused.body as { detail: string };
    expect(detail).toContain('The monthly budget of this API key is 0.0015 USD. Used are 0.001 USD');
    expect(detail).toContain('resets at 2032-01-01T00:00:00Z');
    expect((await generate(apiKey.key, { max_tokens: 1, prompt: 'q' })).status).toBe(200);

    t.clock.advance(17 * 24 * 3_600_000);
    expect((await generate(apiKey.key)).status).toBe(200);
  });

  it('refuses what goes beyond the tokens of the free plan, and bills it on others', async () => {
    const user = await t.make.user();
    const { key } = await t.make.apiKey({ userId: user.id });
    const long = PROMPT.repeat(990);
    expect((await generate(key, { prompt: long, max_tokens: 4_950 })).status).toBe(200);
    const used = Number((await month(user.id))?.['tokens']);
    const refused = await generate(key, { prompt: long, max_tokens: 128_000 });
    expect(refused).toMatchObject({ status: 402, body: { code: 'quota_exceeded' } });
    expect((refused.body as { detail: string }).detail).toContain(
      `The plan includes 10000 tokens a month. Used are ${used}`,
    );
    await t.db.query(`UPDATE users SET billing_tier = 'starter' WHERE id = $1`, [user.id]);
    t.clock.advance(1_001);
    expect((await generate(key, { prompt: long, max_tokens: 128_000 })).status).toBe(200);
  });

  it('does not let a call that is too large keep the smaller ones behind it from running', async () => {
    const apiKey = await starterKey({ monthlyBudgetUsd: '0.010500' });
    const large = { prompt: PROMPT.repeat(100) };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => generate(apiKey.key, i % 2 ? {} : large)),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
  });

  it.each(['server_error', 'drop', 'rate_limited'] as const)(
    'lets go of what a call had set aside when its provider fails: %s',
    async (behaviour) => {
      const apiKey = await starterKey({ monthlyBudgetUsd: '1' });
      fake.behaviour = behaviour;
      const { status } = await generate(apiKey.key, { provider: 'openai' });
      expect(status).toBeGreaterThanOrEqual(500);
      expect(await month(apiKey.userId, apiKey.id)).toMatchObject({ held_tokens: '0', tokens: '0' });
    },
  );

  it('asks nothing of the database for a call without a cap', async () => {
    const apiKey = await starterKey();
    expect((await generate(apiKey.key)).status).toBe(200);
    const query = jest.spyOn(Object.getPrototypeOf(t.db) as typeof t.db, 'query');
    expect((await generate(apiKey.key)).status).toBe(200);
    const opened = query.mock.calls.filter(([sql]) => sqlOf(sql).includes('INSERT INTO usage_holds'));
    query.mockRestore();
    expect(opened).toEqual([]);
  });

  itAlone('inside')(
    'decides about many calls of which the large ones do not fit beside the small ones in few statements',
    async () => {
      const apiKey = await starterKey({ monthlyBudgetUsd: '1' });
      expect((await generate(apiKey.key)).status).toBe(200);
      const holds = t.app.get(Holds, { strict: false });
      const now = t.clock.now();
      const small = 1_000_000n;
      const cap = 100n * small;
      const open = (costNanoUsd: bigint): Promise<void> =>
        holds.open({
          id: uuidv7(),
          userId: apiKey.userId,
          apiKeyId: apiKey.id,
          month: monthOf(now),
          most: { tokens: 10n, costNanoUsd },
          caps: { apiKeyUsd: cap + small, accountUsd: null, tokens: null },
          expiresAt: new Date(now.getTime() + 60_000),
        });
      const query = jest.spyOn(t.app.get(EntityManager), 'query');
      const answers = await Promise.allSettled(
        Array.from({ length: 60 }, (_, i) => open(i % 2 === 0 ? small : cap - (BigInt(i) * small) / 2n)),
      );
      const sent = query.mock.calls.filter(([sql]) => sqlOf(sql).includes('INSERT INTO usage_holds')).length;
      query.mockRestore();
      expect(answers.map(({ status }) => status === 'fulfilled')).toEqual(
        Array.from({ length: 60 }, (_, i) => i % 2 === 0),
      );
      expect(await month(apiKey.userId, apiKey.id)).toMatchObject({ held_usd: '0.030000000' });
      expect(sent).toBeLessThanOrEqual(5);
    },
  );

  it('lets go of what a dead process holds once it expires, and not earlier', async () => {
    const apiKey = await starterKey({ monthlyBudgetUsd: '0.001000' });
    const holds = t.app.get(Holds, { strict: false });
    const now = t.clock.now();
    await holds.open({
      id: apiKey.id,
      userId: apiKey.userId,
      apiKeyId: apiKey.id,
      month: `${now.toISOString().slice(0, 7)}-01`,
      most: { tokens: 10n, costNanoUsd: 1_000_000n },
      caps: { apiKeyUsd: 1_000_000n, accountUsd: null, tokens: null },
      expiresAt: new Date(now.getTime() + 60_000),
    });
    await holds.sweep();
    expect((await generate(apiKey.key)).status).toBe(402);
    t.clock.advance(60_000);
    await Promise.all([holds.sweep(), other.app.get(Holds, { strict: false }).sweep()]);
    await holds.sweep();
    expect(await month(apiKey.userId)).toMatchObject({ held_tokens: '0', held_usd: '0.000000000' });
    expect((await generate(apiKey.key)).status).toBe(200);
  });

  it('mails at 50, 80 and 100 per cent of a budget, once each', async () => {
    const apiKey = await starterKey({ monthlyBudgetUsd: '0.010000' });
    const [owner] = await t.db.query<{ email: string }[]>('SELECT email FROM users WHERE id = $1', [
      apiKey.userId,
    ]);
    const subjects = async (): Promise<string[]> =>
      (await t.mails(owner?.email ?? '')).map(({ subject }) => subject.slice(0, 5).trim()).reverse();
    await Promise.all(Array.from({ length: 5 }, () => generate(apiKey.key)));
    await until(async () => (await subjects()).length === 1);
    await Promise.all(Array.from({ length: 3 }, () => generate(apiKey.key)));
    await until(async () => (await subjects()).length === 2);
    await Promise.all(Array.from({ length: 2 }, () => generate(apiKey.key)));
    await until(async () => (await subjects()).length === 3);
    for (let i = 0; i < 3; i++) expect((await generate(apiKey.key)).status).toBe(402);
    await t.settled();
    expect(await subjects()).toEqual(['50 %', '80 %', '100 %']);
  });

  itAlone('inside')(
    'sets aside once what is asked for twice, because the first answer was lost, and lets it run',
    async () => {
      const apiKey = await starterKey({ monthlyBudgetUsd: '0.003000' });
      expect((await generate(apiKey.key)).status).toBe(200);
      const db = t.app.get(EntityManager);
      const query = db.query.bind(db);
      let sent = 0;
      const held: unknown[] = [];
      const losing = jest.spyOn(db, 'query').mockImplementation(async (sql, ...parameters) => {
        const rows: unknown = await query(sql, ...parameters);
        if (!sqlOf(sql).includes('INSERT INTO usage_holds')) return rows;
        held.push(await month(apiKey.userId));
        if (sent++ === 0) throw new Error('Connection terminated unexpectedly');
        return rows;
      });
      const answers = await Promise.all([generate(apiKey.key), generate(apiKey.key)]);
      losing.mockRestore();
      expect(answers.map(({ status }) => status)).toEqual([200, 200]);
      expect(held[0]).not.toMatchObject({ held_tokens: '0' });
      expect(held[1]).toEqual(held[0]);
      expect(await month(apiKey.userId)).toMatchObject({ requests: '3', held_tokens: '0' });
    },
  );

  itAlone('inside')(
    'lets run what is asked for again while the first send still runs, beside what that one holds',
    async () => {
      const apiKey = await starterKey({ monthlyBudgetUsd: '0.002500' });
      expect((await generate(apiKey.key)).status).toBe(200);
      const db = t.app.get(EntityManager);
      const query = db.query.bind(db);
      let sent = 0;
      let first: Promise<unknown> | undefined;
      const losing = jest.spyOn(db, 'query').mockImplementation((sql, ...parameters) => {
        const rows = query(sql, ...parameters);
        if (!sqlOf(sql).includes('INSERT INTO usage_holds') || sent++ > 0) return rows;
        first = rows;
        return Promise.reject(new Error('Connection terminated unexpectedly'));
      });
      const call = await t.db.transaction(async (tx) => {
        await tx.query('SELECT 1 FROM usage_months WHERE user_id = $1 FOR UPDATE', [apiKey.userId]);
        const called = generate(apiKey.key);
        const waiting = `SELECT 1 FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'
                           AND query ~ 'WITH (wanted|asked) AS'`;
        await until(async () => (await t.db.query<unknown[]>(waiting)).length === 2);
        return { called };
      });
      const { status } = await call.called;
      losing.mockRestore();
      await first;
      expect(status).toBe(200);
      expect(await month(apiKey.userId)).toMatchObject({ requests: '2', held_tokens: '0' });
    },
  );

  itAlone('inside')(
    'lets go of what the first send holds after the second one was refused, long before it expires',
    async () => {
      const apiKey = await starterKey({ monthlyBudgetUsd: '0.001500' });
      expect((await generate(apiKey.key)).status).toBe(200);
      const setUsed = (usd: string): Promise<unknown> =>
        t.db.query('UPDATE usage_months SET cost_usd = $2 WHERE user_id = $1', [apiKey.userId, usd]);
      const db = t.app.get(EntityManager);
      const query = db.query.bind(db);
      let first: (() => Promise<unknown>) | undefined;
      let judged = 0;
      const losing = jest
        .spyOn(db, 'query')
        .mockImplementation(async (sql, ...parameters): Promise<unknown> => {
          if (!sqlOf(sql).includes('INSERT INTO usage_holds')) return query(sql, ...parameters);
          if (!first) {
            first = () => query(sql, ...parameters);
            throw new Error('Connection terminated unexpectedly');
          }
          const answer: unknown = await query(sql, ...parameters);
          if (sqlOf(sql).includes('judged AS')) judged += 1;
          if (judged !== 2) return answer;
          // The first one runs now that there is room for a moment.
          await setUsed('0');
          await first();
          await setUsed('0.001');
          return answer;
        });
      expect((await generate(apiKey.key)).status).toBe(402);
      losing.mockRestore();
      expect(await month(apiKey.userId)).toMatchObject({ held_tokens: '10' });
      await t.app.get(Holds, { strict: false }).sweep();
      expect(await month(apiKey.userId)).toMatchObject({ requests: '1', held_tokens: '0' });
    },
  );

  itAlone('inside')(
    'lets go of a hold that was given up also when the database carries it out after that',
    async () => {
      const apiKey = await starterKey({ monthlyBudgetUsd: '0.003000' });
      expect((await generate(apiKey.key)).status).toBe(200);
      const holds = t.app.get(Holds, { strict: false });
      const db = t.app.get(EntityManager);
      const query = db.query.bind(db);
      let carryOut: (() => Promise<unknown>) | undefined;
      const late = jest.spyOn(db, 'query').mockImplementation((sql, ...parameters) => {
        if (!sqlOf(sql).includes('INSERT INTO usage_holds')) return query(sql, ...parameters);
        carryOut = () => query(sql, ...parameters);
        return Promise.reject(new Error('Query read timeout'));
      });
      expect((await generate(apiKey.key)).status).toBe(503);
      late.mockRestore();
      await holds.sweep();
      await carryOut?.();
      expect(await month(apiKey.userId)).toMatchObject({ held_tokens: '10' });
      await holds.sweep();
      expect(await month(apiKey.userId)).toMatchObject({ requests: '1', held_tokens: '0' });
    },
  );

  it('asks the database about a mail once, however many calls a used-up budget refuses', async () => {
    const apiKey = await starterKey({ monthlyBudgetUsd: '0.001000' });
    await generate(apiKey.key);
    const query = jest.spyOn(EntityManager.prototype, 'query');
    const answers = await Promise.all(Array.from({ length: 20 }, () => generate(apiKey.key)));
    await t.settled();
    const asked = query.mock.calls.filter(([sql]) => sqlOf(sql).includes('SET budget_alert')).length;
    query.mockRestore();
    expect(answers.filter(({ status }) => status === 402)).toHaveLength(20);
    // The call that used it up may have asked before.
    expect(asked).toBeLessThanOrEqual(t.apps.length);
  });

  describe('GET and PUT /auth/usage/budget', () => {
    it('shows and sets the budget of the account, in force at once', async () => {
      const user = await t.make.user();
      const { key } = await t.make.apiKey({ userId: user.id });
      const bearer = user.token;
      expect((await t.http.get('/auth/usage/budget', { bearer })).body).toMatchObject({
        monthly_budget_usd: null,
        used_usd: 0,
        held_usd: 0,
        tokens_included: 10_000,
        tokens_used: 0,
      });
      expect((await generate(key)).status).toBe(200);
      const set = await t.http.put('/auth/usage/budget', { bearer, body: { monthly_budget_usd: 0.001234 } });
      expect(set).toMatchObject({
        status: 200,
        body: { monthly_budget_usd: 0.001234, used_usd: 0.001, tokens_used: 10 },
      });
      expect(await generate(key)).toMatchObject({ status: 402, body: { code: 'budget_exceeded' } });
      await t.http.put('/auth/usage/budget', { bearer, body: { monthly_budget_usd: null } });
      expect((await generate(key)).status).toBe(200);
    });

    it('keeps the budget when none is named', async () => {
      const { token: bearer } = await t.make.user();
      await t.http.put('/auth/usage/budget', { bearer, body: { monthly_budget_usd: 5 } });
      expect((await t.http.put('/auth/usage/budget', { bearer, body: {} })).body).toMatchObject({
        code: 'validation_failed',
        errors: [{ field: 'monthly_budget_usd', message: 'is required' }],
      });
      expect((await t.http.get('/auth/usage/budget', { bearer })).body.monthly_budget_usd).toBe(5);
    });

    it.each([-1, 0.0000001, '5', 1_000_000_001, true])('refuses %p', async (budget) => {
      const { token: bearer } = await t.make.user();
      const answer = await t.http.put('/auth/usage/budget', { bearer, body: { monthly_budget_usd: budget } });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: 'monthly_budget_usd' }] } });
    });

    it('is closed to strangers and to API keys', async () => {
      const { key } = await t.make.apiKey();
      expect((await t.http.get('/auth/usage/budget')).status).toBe(401);
      expect((await t.http.get('/auth/usage/budget', { key })).status).toBe(403);
    });
  });

  it('takes the budget of a key when it is made, and when it is changed', async () => {
    const user = await t.make.user({ tierOverride: 'starter' });
    const made = await t.http.post('/auth/api-keys', {
      bearer: user.token,
      body: { name: 'capped', monthly_budget_usd: 0.0015 },
    });
    expect(made).toMatchObject({ status: 200, body: { api_key_info: { monthly_budget_usd: 0.0015 } } });
    const { api_key: key } = made.body as { api_key: string };
    expect((await generate(key)).status).toBe(200);
    expect((await generate(key)).status).toBe(402);
    const { id } = (made.body as { api_key_info: { id: string } }).api_key_info;
    const raised = await t.http.send('PATCH', `/auth/api-keys/${id}`, {
      bearer: user.token,
      body: { monthly_budget_usd: null },
    });
    expect(raised).toMatchObject({ status: 200, body: { monthly_budget_usd: null } });
    expect((await generate(key)).status).toBe(200);
  });
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo()));
}
