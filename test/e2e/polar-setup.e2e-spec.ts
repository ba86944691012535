import { parseEnv } from '../../src/config/env';
import { PolarClient } from '../../src/billing/polar-client';
import { PolarSetup, type SetUp } from '../../src/billing/polar-setup';
import { FakePolar } from '../support/fake-polar/fake-polar';
import { TEST_SECRETS } from '../support/test-app';

describe('npm run polar:setup', () => {
  let polar: FakePolar;
  const setUp = (): Promise<SetUp> => {
    const env = parseEnv(
      { ...TEST_SECRETS, ...polar.settings(), PUBLIC_URL: 'https://auth.example.com' },
      () => TEST_SECRETS,
    );
    return new PolarSetup(new PolarClient(env), env).run();
  };

  beforeEach(async () => {
    polar = await FakePolar.start();
  });
  afterEach(async () => {
    expect(polar.violations).toEqual([]);
    await polar.stop();
  });

  it('makes the meter, the products with price and benefits, and the webhook endpoint', async () => {
    const { made, products, webhookSecret } = await setUp();
    const { things, webhookSecret: secret } = polar.store;
    expect(made).toHaveLength(1 + 3 * 3 + 1);
    expect(webhookSecret).toBe(secret);
    expect(things.meters).toMatchObject([
      { name: 'usage.tokens', aggregation: { func: 'sum', property: 'total_tokens' } },
    ]);
    expect(things.products.map(({ id }) => id)).toEqual(Object.values(products));
    expect(things.products[0]).toMatchObject({
      name: 'Starter',
      metadata: { tier: 'starter' },
      prices: [
        { amount_type: 'fixed', price_amount: 2900 },
        { amount_type: 'metered_unit', unit_amount: '0.01', meter_id: things.meters[0]?.id },
      ],
    });
    const [flag, credit] = things.benefits;
    expect(things.products[0]?.['benefits']).toEqual([{ id: flag?.id }, { id: credit?.id }]);
    expect(credit).toMatchObject({ type: 'meter_credit', properties: { units: 100_000, rollover: false } });
    expect(things.endpoints).toMatchObject([
      { url: 'https://auth.example.com/api/v1/webhooks/polar', format: 'raw', api_version: '2026-10' },
    ]);
  });

  it('finds everything when it is run again, and switches an endpoint on that was off', async () => {
    const first = await setUp();
    const things = structuredClone(polar.store.things);
    expect(await setUp()).toEqual({ ...first, made: [] });
    expect(polar.store.things).toEqual(things);
    Object.assign(polar.store.things.endpoints[0] ?? {}, { enabled: false });
    expect((await setUp()).made).toEqual(['webhook endpoint, switched on again']);
    expect(polar.store.things.endpoints[0]?.['enabled']).toBe(true);
  });

  it('goes on where it broke off', async () => {
    polar.failNext(
      ...Array.from({ length: 12 }, (_, i) =>
        i % 3 === 2 ? ('commit-then-drop' as const) : ('drop' as const),
      ),
    );
    for (let i = 0; i < 12; i++) await expect(setUp()).rejects.toThrow();
    await setUp();
    const { meters, products, benefits, endpoints } = polar.store.things;
    expect([meters, products, benefits, endpoints].map((list) => list.length)).toEqual([1, 3, 6, 1]);
  });
});
