import { randomUUID } from 'node:crypto';
import { EntityManager, IsNull } from 'typeorm';
import { Idempotency } from '../../src/platform/idempotency/idempotency';
import { IdempotencyKey } from '../../src/platform/idempotency/idempotency-key.entity';
import { UsageHold } from '../../src/usage/usage-hold.entity';
import { UsageLog } from '../../src/usage/usage-log.entity';
import { FakeProvider } from '../support/fake-providers';
import type { Answer } from '../support/http';
import { sqlOf } from '../support/statements';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

const BODY = { user_id: 'end-user-7', prompt: 'Write one sentence about the sea.', provider: 'openai' };
/** PROVIDER_TIMEOUT_SECONDS and the minute that a call may take beyond it. */
const CLAIM_MS = 120_000;

describe('Idempotency-Key on POST /generate', () => {
  let t: TestApp;
  let other: TestApp;
  let fake: FakeProvider;
  let apiKey: Awaited<ReturnType<TestApp['make']['apiKey']>>;
  beforeAll(async () => {
    fake = await FakeProvider.start('openai');
    const settings = { OPENAI_API_KEY: fake.apiKey, OPENAI_BASE_URL: fake.baseUrl };
    t = await startTestApp({ settings });
    other = await startTestApp({ settings, databaseUrl: t.databaseUrl });
  });
  beforeEach(async () => {
    fake.requests.length = 0;
    // Of the free plan: each of its calls sets tokens aside.
    apiKey = await t.make.apiKey();
  });
  afterEach(() => {
    t.clock.reset();
    fake.behaviour = 'ok';
    fake.gate = undefined;
  });
  afterAll(async () => {
    await other.close();
    await t.close();
    await fake.close();
  });

  const generate = (key: string, fields: object = {}, by: TestApp = t): Promise<Answer> =>
    by.http.post('/generate', {
      key: apiKey.key,
      body: { ...BODY, ...fields },
      headers: { 'idempotency-key': key },
    });
  const lines = (): Promise<UsageLog[]> => t.db.findBy(UsageLog, { userId: apiKey.userId });
  const holds = (): Promise<number> => t.db.countBy(UsageHold, { userId: apiKey.userId });

  it('answers a repeated call from the first run: the provider is asked once, and one call is charged (M2)', async () => {
    const first = await generate('"call 1"');
    const again = await generate('"call 1"', {}, other);

    expect([first.status, first.headers.has('idempotency-replayed')]).toEqual([200, false]);
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, 'true']);
    expect(again.text).toBe(first.text);
    expect(again.headers.get('ratelimit')).toContain('"api-key"');
    expect(fake.requests).toHaveLength(1);
    expect(await lines()).toMatchObject([{ id: first.body.request_id, tokensUsed: 31 }]);
    expect(await holds()).toBe(0);
  });

  it('runs one of twenty at once over two services: the others get its answer, or 409 and when to come back', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => generate('"twins"', {}, i % 2 ? t : other)),
    );
    const ran = answers.filter(({ status }) => status === 200);
    const waiting = answers.filter(({ status }) => status === 409);
    expect(ran.length + waiting.length).toBe(20);
    expect(new Set(ran.map(({ text }) => text)).size).toBe(1);
    for (const { body, headers } of waiting)
      expect([body.code, headers.get('retry-after')]).toEqual(['idempotent_request_running', '1']);
    expect(fake.requests).toHaveLength(1);
    expect(await lines()).toHaveLength(1);
  });

  it('answers 409 while the first runs, 422 to another body, and neither is charged', async () => {
    const release = fake.closeGate();
    const arrival = fake.nextRequest();
    const running = generate('"slow"');
    await arrival;
    expect((await generate('"slow"')).body).toMatchObject({ code: 'idempotent_request_running' });
    expect((await generate('"slow"', { prompt: 'other' })).body).toMatchObject({
      status: 422,
      code: 'idempotency_key_reused',
    });
    release();
    const first = await running;
    expect(first.status).toBe(200);
    expect((await generate('"slow"')).text).toBe(first.text);
    expect((await generate('"slow"', { prompt: 'other' })).status).toBe(422);
    expect(await lines()).toHaveLength(1);
  });

  it('gives who lost his answer the same one, at no further cost (R7)', async () => {
    const release = fake.closeGate();
    const arrival = fake.nextRequest();
    const caller = new AbortController();
    const lost = fetch(`${t.url}/api/v1/generate`, {
      method: 'POST',
      headers: {
        'x-api-key': apiKey.key,
        'content-type': 'application/json',
        'idempotency-key': '"lost"',
      },
      body: JSON.stringify(BODY),
      signal: caller.signal,
    });
    await arrival;
    caller.abort();
    await expect(lost).rejects.toThrow();
    release();

    const [line] = await until(lines, (found) => found.length > 0);
    const again = await generate('"lost"');
    expect([again.status, again.body.request_id]).toEqual([200, line?.id]);
    expect(fake.requests).toHaveLength(1);
    expect(await lines()).toHaveLength(1);
  });

  it.each(['server_error', 'drop', 'rate_limited'] as const)(
    'keeps no failure of the provider: after %s the same call runs, and is charged once',
    async (behaviour) => {
      const key = randomUUID();
      fake.behaviour = behaviour;
      expect((await generate(key)).status).toBeGreaterThanOrEqual(500);
      fake.behaviour = 'ok';
      expect((await generate(key)).status).toBe(200);
      expect(await lines()).toHaveLength(1);
    },
  );

  it('keeps a refusal of the provider, which would be the same again', async () => {
    const first = await generate('"unknown model"', { model: 'no-such-model' });
    const again = await generate('"unknown model"', { model: 'no-such-model' });
    expect([first.status, first.body.code]).toEqual([400, 'provider_rejected']);
    expect([again.status, again.text]).toEqual([400, first.text]);
    expect(fake.requests).toHaveLength(1);
    expect(await lines()).toEqual([]);
  });

  it('keeps no refusal by a quota or of bad input', async () => {
    expect((await generate('"mended"', { max_tokens: 11_000 })).status).toBe(402);
    expect((await generate('"mended"', { max_tokens: 0 })).status).toBe(400);
    expect((await generate('"mended"')).status).toBe(200);
  });

  itAlone('inside')(
    'has the answer and the line together or not at all, whichever cannot be written',
    async () => {
      const broken = [
        ['usage_logs', 'false'],
        ['idempotency_keys', 'reply IS NULL'],
      ] as const;
      for (const [table, check] of broken) {
        await t.db.query(`ALTER TABLE ${table} ADD CONSTRAINT refuse_all CHECK (${check}) NOT VALID`);
        try {
          expect((await generate(`"${table}"`)).status).toBe(500);
        } finally {
          await t.db.query(`ALTER TABLE ${table} DROP CONSTRAINT refuse_all`);
        }
        expect(await t.db.countBy(IdempotencyKey, { userId: apiKey.userId })).toBe(0);
        expect([await lines(), await holds()]).toEqual([[], 0]);
      }
      expect((await generate('"usage_logs"')).status).toBe(200);
    },
  );

  itAlone('inside')(
    'of a call that was lost is free again in time, and its late end is neither kept nor charged',
    async () => {
      const release = fake.closeGate();
      const arrival = fake.nextRequest();
      const late = generate('"late"');
      await arrival;
      fake.gate = undefined;
      t.clock.advance(CLAIM_MS - 1_000);
      expect((await generate('"late"')).status).toBe(409);
      t.clock.advance(1_000);
      const second = await generate('"late"');
      expect(second.status).toBe(200);
      release();

      expect(await late).toMatchObject({ status: 409, body: { code: 'idempotent_request_running' } });
      expect((await generate('"late"')).text).toBe(second.text);
      expect(await lines()).toMatchObject([{ id: second.body.request_id }]);
      expect(await holds()).toBe(0);
    },
  );

  itAlone('inside')('of a call that was lost is not given back by its late failure', async () => {
    const fail = fake.closeGate();
    const lateArrival = fake.nextRequest();
    const late = generate('"late failure"');
    await lateArrival;
    t.clock.advance(CLAIM_MS);
    const release = fake.closeGate();
    const arrival = fake.nextRequest();
    const second = generate('"late failure"');
    await arrival;

    fake.behaviour = 'server_error';
    fail();
    expect((await late).status).toBe(502);
    fake.behaviour = 'ok';
    expect((await generate('"late failure"')).status).toBe(409);
    release();
    expect((await second).status).toBe(200);
    expect(await lines()).toHaveLength(1);
  });

  itAlone('inside')(
    'finds the answer of a call that was told of a failure, for nobody knew that it was committed',
    async () => {
      const db = t.app.get(EntityManager);
      const transaction = db.transaction.bind(db) as (run: unknown) => Promise<unknown>;
      const losing = jest.spyOn(db, 'transaction').mockImplementation(async (run) => {
        await transaction(run);
        throw new Error('Connection terminated unexpectedly');
      });
      const told = await generate('"unknown"');
      losing.mockRestore();
      expect(told.status).toBe(503);
      const again = await generate('"unknown"');
      expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, 'true']);
      expect(fake.requests).toHaveLength(1);
      expect(await lines()).toHaveLength(1);
    },
  );

  itAlone('inside').each([
    ['runs', 'once', 1, 200],
    ['is refused, and its repetition runs', 'twice', 2, 503],
  ])(
    'of a call that %s, when the answer to its claim is lost %s, is not held by nobody',
    async (_what, times, lostCount, status) => {
      const db = t.app.get(EntityManager);
      const query = db.query.bind(db);
      let sent = 0;
      const losing = jest.spyOn(db, 'query').mockImplementation(async (sql, ...parameters) => {
        const rows: unknown = await query(sql, ...parameters);
        if (sqlOf(sql).includes('INSERT INTO idempotency_keys') && sent++ < lostCount)
          throw new Error('Connection terminated unexpectedly');
        return rows;
      });
      const first = await generate(`"claim lost ${times}"`);
      losing.mockRestore();
      expect(first.status).toBe(status);
      const claims = (): Promise<number> =>
        t.db.countBy(IdempotencyKey, { userId: apiKey.userId, reply: IsNull() });
      await until(claims, (count) => count === 0);
      expect((await generate(`"claim lost ${times}"`)).status).toBe(200);
      expect(fake.requests).toHaveLength(1);
      expect(await lines()).toHaveLength(1);
    },
  );

  itAlone('inside')('says what failed, also when the key cannot be given back', async () => {
    const release = jest
      .spyOn(t.app.get(Idempotency, { strict: false }), 'release')
      .mockRejectedValue(new Error('connection lost'));
    fake.behaviour = 'server_error';
    expect((await generate('"kept"')).body).toMatchObject({ status: 502, code: 'provider_error' });
    release.mockRestore();
    fake.behaviour = 'ok';
    expect((await generate('"kept"')).status).toBe(409);
    t.clock.advance(CLAIM_MS);
    expect((await generate('"kept"')).status).toBe(200);
  });

  itAlone('inside')('asks the database nothing for a call without the header', async () => {
    expect((await t.http.post('/generate', { key: apiKey.key, body: BODY })).status).toBe(200);
    const query = jest.spyOn(Object.getPrototypeOf(t.db) as typeof t.db, 'query');
    expect((await t.http.post('/generate', { key: apiKey.key, body: BODY })).status).toBe(200);
    const claims = query.mock.calls.filter(([sql]) => sqlOf(sql).includes('idempotency_keys'));
    query.mockRestore();
    expect(claims).toEqual([]);
  });
});

async function until<T>(read: () => Promise<T>, isEnough: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await read();
    if (isEnough(value)) return value;
  }
}
