import { Price } from '../../src/usage/price.entity';
import { PriceBook } from '../../src/usage/price-book';
import { PricesService } from '../../src/usage/prices.service';
import { type PublicPrices, publicPrices } from '../../src/usage/start-up-prices';
import { UsageLog } from '../../src/usage/usage-log.entity';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

describe('the price book', () => {
  let t: TestApp;
  let admin: string;
  beforeAll(async () => {
    t = await startTestApp();
    admin = (await t.make.user({ role: 'admin' })).token;
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const price = { operation: 'generate', input_usd_per_million: 1, output_usd_per_million: 2 };
  const set = (fields: object = {}): Promise<Answer> =>
    t.http.post('/admin/prices', { bearer: admin, body: { ...price, ...fields } });
  const generate = (key: string, model: string): Promise<Answer> =>
    t.http.post('/generate', {
      key,
      body: { user_id: 'u', prompt: 'Hello, how are you?', provider: 'echo', model },
    });
  /** Prices are read once a second; by the test's clock they are in force five seconds later. */
  const untilKnown = async (version: number): Promise<void> => {
    const [row] = await t.db.query<{ at: Date }[]>(
      'SELECT effective_from AS at FROM prices WHERE version = $1',
      [version],
    );
    t.clock.advance((row?.at.getTime() ?? 0) - t.clock.nowMs() + 1);
    for (const app of t.apps) await app.get(PriceBook, { strict: false }).onModuleInit();
  };

  it('charges by the most exact price in force, and each line says by which version', async () => {
    const { key, userId } = await t.make.apiKey();
    const general = (await set({ provider: 'echo', request_usd: 0.5 })).body as { version: number };
    const exact = (await set({ provider: 'echo', model: 'small', input_usd_per_million: 0.000001 })).body as {
      version: number;
    };
    expect(exact.version).toBe(general.version + 1);
    expect((await generate(key, 'other')).body).toMatchObject({ usage: { cost_usd: 0.0012 } });

    await untilKnown(exact.version);
    expect((await generate(key, 'other')).body).toMatchObject({ usage: { cost_usd: 0.500018 } });
    expect((await generate(key, 'small')).body).toMatchObject({ usage: { cost_usd: 0.000012 } });
    const lines = await t.db.find(UsageLog, { where: { userId }, order: { id: 'ASC' } });
    expect(lines.map(({ costUsd, priceVersion }) => [costUsd, priceVersion])).toEqual([
      ['0.001200000', 0],
      ['0.500018000', general.version],
      ['0.000012000', exact.version],
    ]);
  });

  it('numbers prices without a gap when many are set at once', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => set({ operation: 'other' })));
    const versions = answers.map(({ body }) => (body as { version: number }).version).sort((a, b) => a - b);
    expect(versions).toEqual(versions.map((_version, index) => (versions[0] ?? 0) + index));
    const list = await t.http.get('/admin/prices?limit=8', { bearer: admin });
    expect((list.body as { data: { operation: string }[] }).data.map(({ operation }) => operation)).toEqual(
      Array.from({ length: 8 }, () => 'other'),
    );
  });

  describe('of providers', () => {
    const start = (list: PublicPrices, by = t): Promise<void> =>
      by.app.get(PricesService, { strict: false }).addPublic(list);
    const listed = (asOf: string, input: string): PublicPrices => ({
      asOf,
      providers: {
        anthropic: { source: '', usdPerMillion: { listed: { input, output: '1', cached: '0.10' } } },
      },
    });
    const added = async (model: string): Promise<unknown[]> =>
      (await t.db.find(Price, { where: { model }, order: { version: 'ASC' } })).map(
        ({ inputUsdPerMillion, publicAsOf }) => [inputUsdPerMillion, publicAsOf],
      );
    /** What the call of another service cost, of a million input tokens, half of them cached, and as many output tokens. */
    const cost = async (provider: string, model: string): Promise<unknown> => {
      const { key, userId } = await t.make.apiKey({ servicePermissions: ['usage:write'] });
      const tokens = { input_tokens: 1_000_000, cached_tokens: 500_000, output_tokens: 1_000_000 };
      const events = [{ id: 'e', operation: 'generate', user_id: userId, provider, model, ...tokens }];
      expect((await t.http.post('/usage/events', { key, body: { events } })).status).toBe(200);
      return (await t.db.findOneByOrFail(UsageLog, { userId })).costUsd;
    };

    it('stand in the book from the first start on, each once, however often and wherever the service starts', async () => {
      const count = Object.values(publicPrices.providers).flatMap(({ usdPerMillion }) =>
        Object.keys(usdPerMillion),
      ).length;
      const other = await startTestApp({ databaseUrl: t.databaseUrl });
      await Promise.all([start(publicPrices), start(publicPrices, other), start(publicPrices)]);
      await other.close();
      expect(await t.db.countBy(Price, { publicAsOf: publicPrices.asOf })).toBe(count);
      await untilKnown(count);
      expect(await cost('openai', 'gpt-6-luna')).toBe('0.555000000');
      expect(await cost('openai', 'no-such-model')).toBe('200.000000000');
    });

    it('get a new version when a later list differs, one of many that start at once', async () => {
      await start(listed('2030-01-01', '0.5'));
      await start(listed('2030-01-02', '0.500'));
      expect(await added('listed')).toEqual([['0.500000', '2030-01-01']]);
      const later = listed('2030-01-03', '0.75');
      await Promise.all(Array.from({ length: 8 }, () => start(later)));
      await start(listed('2030-01-02', '0.5'));
      expect(await added('listed')).toEqual([
        ['0.500000', '2030-01-01'],
        ['0.750000', '2030-01-03'],
      ]);
    });

    it('never come before what an admin has set, however general that is', async () => {
      const { version } = (await set({ provider: 'gemini' })).body as { version: number };
      await untilKnown(version);
      expect(await cost('gemini', 'gemini-3.5-flash-lite')).toBe('3.000000000');
      const list = listed('2030-01-04', '7');
      const gemini = { source: '', usdPerMillion: { other: { input: '9', output: '9', cached: '9' } } };
      await start({ ...list, providers: { gemini } });
      await untilKnown(version + 1);
      expect(await cost('gemini', 'other')).toBe('3.000000000');
    });
  });

  it('refuses a price that begins in the past, and amounts that are none', async () => {
    expect(await set({ effective_from: '2020-01-01T00:00:00Z' })).toMatchObject({
      status: 400,
      body: { code: 'price_in_the_past' },
    });
    for (const wrong of [-1, 0.0000001, '1', null]) {
      expect((await set({ input_usd_per_million: wrong })).status).toBe(400);
    }
  });

  it('simulates a price on past calls, and changes nothing', async () => {
    const { key } = await t.make.apiKey();
    for (let i = 0; i < 3; i++) await generate(key, 'simulated');
    const from = new Date(t.clock.nowMs() - 3_600_000).toISOString();
    const to = new Date(t.clock.nowMs() + 1_000).toISOString();
    const body = { ...price, model: 'simulated', request_usd: 1, from, to };
    const answer = await t.http.post('/admin/prices/simulate', { bearer: admin, body });
    expect(answer.body).toMatchObject({ requests: 3, simulated_cost_usd: 3.000054 });
    const late = { ...body, to: new Date(t.clock.nowMs() + 32 * 24 * 3_600_000).toISOString() };
    expect((await t.http.post('/admin/prices/simulate', { bearer: admin, body: late })).status).toBe(400);
  });

  it('is open to admins alone', async () => {
    const { token } = await t.make.user();
    expect((await t.http.get('/admin/prices')).status).toBe(401);
    expect((await t.http.get('/admin/prices', { bearer: token })).status).toBe(403);
    expect((await t.http.post('/admin/prices', { bearer: token, body: price })).status).toBe(403);
  });
});
