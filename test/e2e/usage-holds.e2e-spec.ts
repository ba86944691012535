import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { ApiKey } from '../../src/api-keys/api-key.entity';
import { NO_CAPS } from '../../src/usage/caps';
import { Holds } from '../../src/usage/holds';
import { closeStatement } from '../../src/usage/close-statement';
import { Ledger } from '../../src/usage/ledger';
import { PriceBook } from '../../src/usage/price-book';
import { UsageLog } from '../../src/usage/usage-log.entity';
import { openAllConnections, watchCap } from '../support/cap-watch';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const ROUNDS = Math.max(1, Number.parseInt(process.env['CAP_ROUNDS'] ?? '2', 10));

jest.setTimeout(60_000 + ROUNDS * 5_000);

describe('holds of backends that serve calls themselves', () => {
  let t: TestApp;
  let other: TestApp;
  let reporter: { key: string };
  beforeAll(async () => {
    t = await startTestApp();
    other = await startTestApp({ databaseUrl: t.databaseUrl });
    reporter = await makeReporter();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(async () => {
    await other.close();
    await t.close();
  });

  async function makeReporter(): Promise<{ key: string }> {
    const { id: userId } = await t.make.user({ tierOverride: 'internal' });
    return t.make.apiKey({ userId, rateLimitPerMinute: 1_000_000, servicePermissions: ['usage:write'] });
  }
  /** With a budget of ten calls of ten tokens each, 0.001 USD a call. */
  async function customer(monthlyBudgetUsd: string | null = '0.010500'): Promise<ApiKey & { key: string }> {
    const { id: userId } = await t.make.user({ tierOverride: 'starter' });
    return t.make.apiKey({ userId, monthlyBudgetUsd, rateLimitPerMinute: 1_000 });
  }
  const hold = (apiKeyId: string, fields: object = {}, by: TestApp = t): Promise<Answer> =>
    by.http.post('/usage/holds', {
      key: reporter.key,
      body: { operation: 'search', api_key_id: apiKeyId, input_tokens: 6, output_tokens: 4, ...fields },
    });
  const end = (id: string, how: 'settle' | 'release', body?: object, by: TestApp = t): Promise<Answer> =>
    by.http.post(`/usage/holds/${id}/${how}`, {
      key: reporter.key,
      body: how === 'settle' ? (body ?? TOOK) : body,
    });
  /** Costs what ten tokens cost. */
  const generate = (key: string, by: TestApp = t): Promise<Answer> =>
    by.http.post('/generate', { key, body: { user_id: 'u', prompt: 'q~z7%', provider: 'echo' } });
  const TOOK = { input_tokens: 6, output_tokens: 4 };
  const idOf = ({ body }: Answer): string => (body as { id: string }).id;
  const month = async (userId: string): Promise<unknown> =>
    (
      await t.db.query<unknown[]>(
        'SELECT requests, tokens, held_tokens, held_usd FROM usage_months WHERE user_id = $1 AND scope_id = $1',
        [userId],
      )
    )[0];
  const monthOf = (calls: number, held = 0): object => ({
    requests: `${calls}`,
    tokens: `${calls * 10}`,
    held_tokens: `${held * 10}`,
    held_usd: (held / 1_000).toFixed(9),
  });

  it('sets aside, and books what the call took in its place, with all that is known of it', async () => {
    const { id, userId } = await customer();
    const held = await hold(id, { provider: 'own', model: 'm', expires_in_seconds: 60 });
    expect(held).toMatchObject({ status: 200, body: { held_tokens: 10, held_usd: 0.001 } });
    expect(
      Date.parse((held.body as { expires_at: string }).expires_at) - t.clock.nowMs(),
    ).toBeLessThanOrEqual(60_000);
    expect(await month(userId)).toEqual(monthOf(0, 1));

    const took = {
      input_tokens: 5,
      output_tokens: 1,
      cached_tokens: 2,
      end_user: 'e',
      metadata: { hits: 3 },
    };
    const settled = await end(idOf(held), 'settle', took);
    expect(settled).toMatchObject({ status: 200, body: { status: 'created' } });
    expect(await t.db.findBy(UsageLog, { userId })).toMatchObject([
      {
        id: (settled.body as { line_id: string }).line_id,
        apiKeyId: id,
        operation: 'search',
        provider: 'own',
        model: 'm',
        inputTokens: 5,
        outputTokens: 1,
        cachedTokens: 2,
        costUsd: '0.000600000',
        metadata: { end_user: 'e', reported: { hits: 3 } },
      },
    ]);
    expect(await month(userId)).toMatchObject({ requests: '1', tokens: '6', held_tokens: '0' });
  });

  it(`M4: of 100 holds and 100 calls at once over two services, beside two holds and two calls, there is room for six; however they end, the cap is never exceeded; ${ROUNDS} rounds`, async () => {
    await Promise.all([t, other].map((app) => openAllConnections(app)));
    for (let round = 0; round < ROUNDS; round++) {
      const { id, userId, key } = await customer();
      const watch = await watchCap(t.databaseUrl, userId, '0.0105');
      const before = [
        await hold(id),
        await generate(key),
        await hold(id, {}, other),
        await generate(key, other),
      ];
      const answers = [
        ...before,
        ...(await Promise.all(
          Array.from({ length: 200 }, (_, i) => {
            const by = i % 4 < 2 ? t : other;
            return i % 2 ? generate(key, by) : hold(id, {}, by);
          }),
        )),
      ];
      const [holds, calls] = [0, 1].map((odd) => answers.filter((_, i) => i % 2 === odd)) as [
        Answer[],
        Answer[],
      ];
      const ran = calls.filter(({ status }) => status === 200).length;
      const granted = holds.filter(({ status }) => status === 200).map(idOf);
      expect(ran + granted.length).toBe(10);
      expect(answers.filter(({ status }) => status === 402)).toHaveLength(194);
      expect(await month(userId)).toEqual(monthOf(ran, granted.length));
      // Each is settled and released by both services at the same moment: one of the two comes true, and all are told which.
      const ends = await Promise.all(
        granted.map((one, i) =>
          Promise.all([
            end(one, 'settle', TOOK, t),
            end(one, 'release', undefined, i % 3 ? other : t),
            end(one, 'settle', TOOK, other),
          ]),
        ),
      );
      const told = ends.map((three) => three.map(({ status }) => status).join(' '));
      const lines = (await t.db.countBy(UsageLog, { userId })) - ran;
      expect(told.filter((statuses) => statuses === '200 409 200')).toHaveLength(lines);
      expect(told.filter((statuses) => statuses === '404 200 404')).toHaveLength(granted.length - lines);
      expect(await watch.end()).toEqual({ looked: expect.any(Number) as number, broken: 0 });
      expect(await month(userId)).toEqual(monthOf(ran + lines));
    }
  });

  it('M2: books a settlement once, however often and wherever it is sent, and says so', async () => {
    const { id, userId } = await customer();
    const one = idOf(await hold(id));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => end(one, 'settle', TOOK, i % 2 ? t : other)),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(20);
    expect(answers.filter(({ body }) => (body as { status: string }).status === 'created')).toHaveLength(1);
    expect(await end(one, 'settle', { ...TOOK, output_tokens: 1 })).toMatchObject({
      status: 409,
      body: { code: 'hold_settled' },
    });
    expect(await end(one, 'release')).toMatchObject({ status: 409, body: { code: 'hold_settled' } });
    expect(await month(userId)).toEqual(monthOf(1));
  });

  it('books one of several things that a hold is settled with at the same moment, and tells the others', async () => {
    const { id, userId } = await customer();
    const one = idOf(await hold(id));
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => end(one, 'settle', { input_tokens: i % 5 }, i % 2 ? t : other)),
    );
    const [line] = await t.db.findBy(UsageLog, { userId });
    for (const [i, { status, body }] of answers.entries()) {
      const isBooked = i % 5 === line?.inputTokens;
      expect([status, body.line_id]).toEqual(isBooked ? [200, line.id] : [409, undefined]);
    }
    expect(answers.filter(({ body }) => body.status === 'created')).toHaveLength(1);
    expect(await month(userId)).toMatchObject({ requests: '1', held_tokens: '0' });
  });

  /** Waits until as many statements that end holds wait for a row. */
  async function blocked(count: number): Promise<void> {
    const waiting = `SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%usage_holds_end%'`;
    while ((await t.db.query<unknown[]>(waiting)).length < count);
  }
  const lock = (tx: EntityManager, userId: string, id: string): Promise<unknown[]> =>
    tx.query('SELECT FROM usage_holds WHERE user_id = $1 AND id = $2 FOR UPDATE NOWAIT', [userId, id]);

  it('books nothing for a hold that is released just before', async () => {
    const { id, userId } = await customer();
    const one = idOf(await hold(id));
    let ends: Promise<Answer>[] = [];
    await t.db.transaction(async (tx) => {
      await lock(tx, userId, one);
      ends = [end(one, 'release', undefined, other)];
      await blocked(1);
      ends.push(end(one, 'settle'));
      await blocked(2);
    });
    expect((await Promise.all(ends)).map(({ status }) => status)).toEqual([200, 404]);
    expect(await month(userId)).toEqual(monthOf(0));
  });

  it('ends holds in the order of their ids, so that two services never wait for each other in a circle', async () => {
    const { id, userId } = await customer();
    const [first = '', second = ''] = [idOf(await hold(id)), idOf(await hold(id))].sort();
    const ledger = t.app.get(Ledger, { strict: false });
    let released: Promise<unknown> = Promise.resolve();
    await t.db.transaction(async (tx) => {
      await lock(tx, userId, first);
      released = Promise.all([second, first].map((one) => ledger.release({ userId, id: one })));
      await blocked(1);
      expect(await lock(tx, userId, second)).toHaveLength(1);
    });
    await released;
    expect(await month(userId)).toEqual(monthOf(0));
  });

  it('finds the holds it ends by their key, also when PostgreSQL took the table for empty', async () => {
    await t.db.query('VACUUM ANALYZE usage_holds');
    const { id, userId } = await customer();
    const held = { userId, id: idOf(await hold(id)) };
    const [before, after] = await t.db.transaction(async (tx) => {
      // Also of earlier transactions of this connection, as far as it has not told of them yet.
      const scans = async (): Promise<{ seq: number; deleted: number } | undefined> =>
        (
          await tx.query<{ seq: number; deleted: number }[]>(
            `SELECT seq_scan::int AS seq, n_tup_del::int AS deleted FROM pg_stat_xact_user_tables WHERE relname = 'usage_holds'`,
          )
        )[0];
      const start = await scans();
      await tx.query(...closeStatement([{ line: null, hold: held, draw: null, capped: null }], 'first'));
      return [start, await scans()];
    });
    expect(after).toEqual({ seq: before?.seq, deleted: (before?.deleted ?? 0) + 1 });
  });

  it('refuses to book more than is held, and keeps the hold', async () => {
    const { id, userId } = await customer();
    const one = idOf(await hold(id));
    expect(await end(one, 'settle', { input_tokens: 6, output_tokens: 5 })).toMatchObject({
      status: 409,
      body: { code: 'hold_exceeded' },
    });
    expect(await month(userId)).toEqual(monthOf(0, 1));
    expect((await end(one, 'settle')).status).toBe(200);
  });

  it('refuses to book what costs more than is held, or has more tokens, and to hold what costs more than can be booked', async () => {
    const { token: bearer } = await t.make.user({ role: 'admin' });
    const price = { operation: 'dear', input_usd_per_million: 0, output_usd_per_million: 1_000_000_000 };
    const { effective_from: from } = (await t.http.post('/admin/prices', { bearer, body: price })).body as {
      effective_from: string;
    };
    t.clock.advance(Date.parse(from) - t.clock.nowMs());
    for (const app of t.apps) await app.get(PriceBook, { strict: false }).onModuleInit();
    const { id, userId } = await customer(null);
    const one = idOf(await hold(id, { operation: 'dear', input_tokens: 10, output_tokens: 0 }));
    for (const more of [{ output_tokens: 1 }, { input_tokens: 11 }])
      expect(await end(one, 'settle', more)).toMatchObject({ status: 409, body: { code: 'hold_exceeded' } });
    expect((await end(one, 'settle', { input_tokens: 10 })).status).toBe(200);
    expect(await hold(id, { operation: 'dear', output_tokens: 2_000_000_000 })).toMatchObject({
      status: 400,
      body: { errors: [{ field: '', message: 'costs more than can be booked' }] },
    });
    expect(await month(userId)).toEqual(monthOf(1));
  });

  it('shares the cap with calls of this service', async () => {
    const { id, key } = await customer('0.001500');
    const one = idOf(await hold(id));
    expect((await generate(key)).status).toBe(402);
    await end(one, 'release');
    expect((await generate(key)).status).toBe(200);
    expect(await hold(id)).toMatchObject({ status: 402, body: { code: 'budget_exceeded' } });
  });

  it('shares the tokens of the plan with calls of this service', async () => {
    const { id, key } = await t.make.apiKey();
    const one = idOf(await hold(id, { input_tokens: 9_991 }));
    expect(await generate(key)).toMatchObject({ status: 402, body: { code: 'quota_exceeded' } });
    await end(one, 'release');
    expect((await generate(key)).status).toBe(200);
  });

  it('lets go of a hold that nobody ends in time; what comes later is reported as an event', async () => {
    const { id, userId, key } = await customer('0.001500');
    const one = idOf(await hold(id, { expires_in_seconds: 30 }));
    const sweep = (): Promise<void> => t.app.get(Holds, { strict: false }).sweep();
    await sweep();
    expect(await generate(key)).toMatchObject({ status: 402, body: { code: 'budget_exceeded' } });
    t.clock.advance(30_001);
    await sweep();
    expect(await month(userId)).toEqual(monthOf(0));
    for (const how of ['settle', 'release'] as const)
      expect(await end(one, how)).toMatchObject({ status: 404, body: { code: 'hold_not_found' } });
    expect((await generate(key)).status).toBe(200);
    expect(await month(userId)).toEqual(monthOf(1));
  });

  it('lets go of everything that a dead backend held, however much, in one sweep', async () => {
    const { id: apiKeyId, userId } = await customer();
    const holds = t.app.get(Holds, { strict: false });
    const now = t.clock.now();
    const opening = {
      userId,
      apiKeyId,
      caps: NO_CAPS,
      month: `${now.toISOString().slice(0, 7)}-01`,
      most: { tokens: 10n, costNanoUsd: 1_000_000n },
      expiresAt: new Date(now.getTime() + 1_000),
    };
    await Promise.all(Array.from({ length: 1_001 }, () => holds.open({ ...opening, id: uuidv7() })));
    expect(await month(userId)).toEqual(monthOf(0, 1_001));
    t.clock.advance(1_001);
    await holds.sweep();
    expect(await month(userId)).toEqual(monthOf(0));
  });

  it('books into the month in which it was held, at the prices of that moment', async () => {
    const { id, userId } = await customer();
    t.clock.advance(Date.parse('2031-12-31T23:59:59Z') - t.clock.nowMs());
    const one = idOf(await hold(id));
    t.clock.advance(2_000);
    expect((await end(one, 'settle')).status).toBe(200);
    const [line] = await t.db.findBy(UsageLog, { userId });
    expect(line?.createdAt.toISOString()).toMatch(/^2031-12-31T23:59:59/);
    expect(await month(userId)).toEqual(monthOf(1));
  });

  it('leaves nothing personal in the line of a customer who has left meanwhile', async () => {
    const user = await t.make.user();
    const one = idOf(await hold('', { api_key_id: undefined, user_id: user.id }));
    await t.http.delete('/auth/me', { bearer: user.token, body: { password: PASSWORD } });
    await t.settled();
    t.clock.advance(1_001);
    expect((await end(one, 'settle', { ...TOOK, end_user: 'mumble', metadata: { a: 1 } })).status).toBe(200);
    const lines = await t.db.findBy(UsageLog, { userId: user.id });
    expect(lines.map(({ tokensUsed, metadata }) => [tokensUsed, metadata])).toEqual([[10, {}]]);
  });

  it('refuses what cannot be, also when it settles', async () => {
    const one = idOf(await hold((await customer()).id));
    for (const [took, field] of [
      [{ input_tokens: 1, cached_tokens: 2 }, 'cached_tokens'],
      [{ input_tokens: 1.5 }, 'input_tokens'],
      [{ operation: 'other' }, 'operation'],
    ] as const)
      expect(await end(one, 'settle', took)).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    expect((await t.http.post('/usage/holds/nobody/settle', { key: reporter.key, body: TOOK })).status).toBe(
      400,
    );
    expect((await end(one.toUpperCase(), 'settle')).status).toBe(200);
  });

  it('holds for customers without a cap too, so that a backend need not know', async () => {
    const { id, userId } = await customer(null);
    expect((await end(idOf(await hold(id)), 'settle')).status).toBe(200);
    expect(await month(userId)).toEqual(monthOf(1));
  });

  it("answers for another reporter's hold as for none, and leaves it", async () => {
    const { id, userId } = await customer();
    const one = idOf(await hold(id));
    const { key } = await makeReporter();
    for (const how of ['settle', 'release']) {
      const foreign = await t.http.post(`/usage/holds/${one}/${how}`, {
        key,
        body: how === 'settle' ? TOOK : undefined,
      });
      expect([foreign.status, foreign.body.code]).toEqual([404, 'hold_not_found']);
    }
    expect((await end(uuidv7(), 'settle')).status).toBe(404);
    expect(await month(userId)).toEqual(monthOf(0, 1));
  });

  it.each([
    [{ api_key_id: uuidv7() }, 'api_key_id'],
    [{ api_key_id: undefined }, 'user_id'],
    [{ input_tokens: -1 }, 'input_tokens'],
    [{ input_tokens: 2_147_483_647 }, 'output_tokens'],
    [{ expires_in_seconds: 3_601 }, 'expires_in_seconds'],
    [{ operation: '' }, 'operation'],
  ])('refuses %p', async (fields, field) => {
    const { id } = await customer();
    expect(await hold(id, fields)).toMatchObject({ status: 400, body: { errors: [{ field }] } });
  });

  it('is closed to keys without the service permission', async () => {
    const { id, key } = await customer();
    const body = { operation: 'search', api_key_id: id };
    expect((await t.http.post('/usage/holds', { body })).status).toBe(401);
    expect((await t.http.post('/usage/holds', { key, body })).status).toBe(403);
    const one = idOf(await hold(id));
    for (const how of ['settle', 'release'])
      expect((await t.http.post(`/usage/holds/${one}/${how}`, { key, body: TOOK })).status).toBe(403);
  });
});
