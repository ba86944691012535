import { randomUUID } from 'node:crypto';
import { BillingAccount } from '../../src/billing/billing-account.entity';
import { BillingErasure } from '../../src/billing/billing-erasure';
import { BillingEvent } from '../../src/billing/billing-event.entity';
import { User } from '../../src/users/user.entity';
import {
  type BilledApp,
  deliver,
  eventually,
  products,
  startBilledApp,
  subscriber,
  sync,
} from '../support/billing';
import { startTestApp, type TestApp } from '../support/test-app';

jest.setTimeout(90_000);

describe('billing', () => {
  let t: BilledApp;

  beforeAll(async () => {
    t = await startBilledApp({ settings: { ALLOWED_ORIGINS: 'https://app.example.com' } });
  });
  afterEach(() => {
    t.polar.heal();
    expect(t.polar.violations).toEqual([]);
  });
  afterAll(() => t.close());

  const accountOf = (userId: string): Promise<BillingAccount | null> =>
    t.db.findOneBy(BillingAccount, { userId });
  const post = (path: string, bearer: string, body: object = {}) =>
    t.http.post(`/auth/billing/${path}`, { bearer, body });
  const info = async (bearer: string) => (await t.http.get('/auth/billing/info', { bearer })).body;
  const seen = (path: string): number => t.polar.requests.filter((one) => one.path === path).length;

  describe('customers', () => {
    it('B1: come into being behind the sign-up, with the user as their external id', async () => {
      const email = t.make.email();
      const body = { email, password: 'correct horse battery', first_name: 'Ada', last_name: 'Lovelace' };
      const { status, body: user } = await t.http.post('/auth/register', { body });
      expect(status).toBe(200);
      await eventually(async () => ((await accountOf(user.id))?.polarCustomerId ?? null) !== null);
      expect(t.polar.store.customerOf(user.id)).toMatchObject({ email, name: 'Ada Lovelace' });
    });

    it('B1: are made later when Polar hangs, drops or refuses, and sign-up and log-in do not notice', async () => {
      t.polar.faultOf = ({ path }) => (path.endsWith('/state') ? 'drop' : 'hang');
      const email = t.make.email();
      const body = { email, password: 'correct horse battery' };
      const beganMs = performance.now();
      const { status, body: user } = await t.http.post('/auth/register', { body });
      expect(status).toBe(200);
      expect((await t.http.post('/auth/login', { body })).status).toBe(200);
      expect(performance.now() - beganMs).toBeLessThan(5_000);
      await eventually(async () => ((await accountOf(user.id))?.syncFailures ?? 0) > 0);
      t.polar.heal();
      t.clock.advance(3_600_000);
      await eventually(async () => ((await accountOf(user.id))?.polarCustomerId ?? null) !== null);
      t.clock.reset();
    });

    it('are found again when the answer to making them was lost', async () => {
      const user = await t.make.user();
      t.polar.faultOf = ({ method, path }) =>
        method === 'POST' && path === '/v1/customers/' ? 'commit-then-drop' : undefined;
      await expect(sync(t, user.id)).rejects.toThrow();
      t.polar.heal();
      await sync(t, user.id);
      const customer = t.polar.store.customerOf(user.id);
      expect(await accountOf(user.id)).toMatchObject({
        polarCustomerId: customer?.id,
        customerProblem: null,
      });
    });

    it.each([
      [true, null],
      [false, 'email_not_verified'],
    ])(
      'that exist with the same address are linked for a proven address alone (%s)',
      async (isVerified, problem) => {
        const user = await t.make.user({ isVerified });
        const customer = t.polar.store.addCustomer({ email: user.email });
        await sync(t, user.id);
        const polarCustomerId = isVerified ? customer.id : null;
        expect(await accountOf(user.id)).toMatchObject({ polarCustomerId, customerProblem: problem });
        expect(customer.external_id).toBe(isVerified ? user.id : null);
      },
    );

    it('that are linked bring the plan that they have', async () => {
      const user = await t.make.user({ isVerified: true });
      const customer = t.polar.store.addCustomer({ email: user.email });
      t.polar.store.subscribe(user.id, products.starter, { customer_id: customer.id });
      const sql = 'INSERT INTO billing_accounts (user_id) VALUES ($1) ON CONFLICT DO NOTHING';
      await t.db.query(sql, [user.id]);
      await sync(t, user.id);
      // Here or by the service itself: what is due is done again.
      await eventually(async () => {
        const dueAt = (await accountOf(user.id))?.syncAt;
        if (dueAt && dueAt <= t.clock.now()) await sync(t, user.id);
        return (await info(user.token)).tier === 'starter';
      });
      expect(customer.external_id).toBe(user.id);
    });

    it('of another account are never linked, and the operator is told', async () => {
      const user = await t.make.user();
      t.polar.store.addCustomer({ email: user.email, external_id: randomUUID() });
      await sync(t, user.id);
      const account = await accountOf(user.id);
      expect(account).toMatchObject({ polarCustomerId: null, customerProblem: 'email_of_another_customer' });
      expect(account?.syncAt).not.toBeNull();
      expect(t.logLines.some((line) => line.includes(user.id) && line.includes('no customer at Polar'))).toBe(
        true,
      );
    });

    it('and what was said about them are forgotten when the account is erased', async () => {
      const { user, subscription } = await subscriber(t);
      await deliver(
        t,
        t.polar.store.deliver('subscription.updated', t.polar.store.subscriptionBody(subscription)),
      );
      await t.settled();
      const customer = t.polar.store.customerOf(user.id);
      await t.db.transaction((tx) => t.app.get(BillingErasure, { strict: false }).erase(user.id, tx));
      await t.settled();
      expect(customer).toMatchObject({ name: null, email: `${customer?.id}@anonymous` });
      expect(await t.db.findBy(BillingEvent, { userId: user.id })).toMatchObject([{ payload: null }]);
    });
  });

  describe('plans and info', () => {
    it('show every plan that can be had, and which are for sale', async () => {
      const { token } = await t.make.user();
      const { body } = await t.http.get('/auth/billing/plans', { bearer: token });
      expect(
        body.data.map((plan: { tier: string; for_sale: boolean }) => [plan.tier, plan.for_sale]),
      ).toEqual([
        ['free', false],
        ['starter', true],
        ['professional', true],
        ['enterprise', true],
      ]);
      expect(body.data[1]).toMatchObject({ price_usd_per_month: 29, tokens_included_per_month: 100_000 });
    });

    it('show a new account as free, over the calendar month', async () => {
      const { token } = await t.make.user();
      const shown = await info(token);
      expect(shown).toMatchObject({
        tier: 'free',
        status: 'none',
        tokens_included: 10_000,
        tokens_used: 0,
        cost_so_far_usd: 0,
        portal_available: false,
      });
      expect(shown.period_start).toMatch(/-01T00:00:00.000Z$/);
    });

    it('show a subscription with its period, what was used in it and what that costs', async () => {
      const { user, subscription } = await subscriber(t);
      const { key } = await t.make.apiKey({ userId: user.id });
      const call = { user_id: 'a', prompt: 'Hello', provider: 'echo' };
      const { usage } = (await t.http.post('/generate', { key, body: call })).body;
      const shown = await info(user.token);
      expect(shown).toMatchObject({
        tier: 'starter',
        status: 'active',
        period_start: subscription.current_period_start,
        period_end: subscription.current_period_end,
        tokens_used: usage.total_tokens,
        cost_so_far_usd: 29,
        portal_available: true,
      });
      expect(shown.forecast_cost_usd).toBeGreaterThanOrEqual(29);
    });
  });

  it('shows the calendar month again when the subscription has ended within its period', async () => {
    const { user, subscription } = await subscriber(t);
    subscription.status = 'canceled';
    const { store } = t.polar;
    await deliver(t, store.deliver('subscription.revoked', store.subscriptionBody(subscription)));
    await t.settled();
    const now = t.clock.now();
    const month = (more: number): string =>
      new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + more, 1)).toISOString();
    expect(await info(user.token)).toMatchObject({
      tier: 'free',
      status: 'canceled',
      period_start: month(0),
      period_end: month(1),
    });
  });

  describe('what it costs', () => {
    it('is nothing when nothing was bought, whatever plan an operator has set', async () => {
      const { token } = await t.make.user({ tierOverride: 'starter' });
      expect(await info(token)).toMatchObject({
        tier: 'starter',
        tokens_included: 100_000,
        cost_so_far_usd: 0,
        forecast_cost_usd: 0,
      });
    });

    it('is what the plan costs that was bought, also below another that an operator has set', async () => {
      const { user } = await subscriber(t);
      await t.db.update(User, { id: user.id }, { tierOverride: 'enterprise' });
      expect(await info(user.token)).toMatchObject({ tier: 'enterprise', cost_so_far_usd: 29 });
    });
  });

  describe('checkout', () => {
    it('gives a page of Polar, and the same one again while it is open', async () => {
      const user = await t.make.user();
      const first = await post('checkout', user.token, { tier: 'starter' });
      expect(first.status).toBe(200);
      const again = await post('checkout', user.token, { tier: 'starter' });
      expect(again.body).toEqual(first.body);
      expect((await post('checkout', user.token, { tier: 'professional' })).body.url).not.toBe(
        first.body.url,
      );
      const [checkout] = [...t.polar.store.checkouts.values()].filter(
        (one) => one['external_customer_id'] === user.id,
      );
      expect(checkout).toMatchObject({ products: [products.starter] });
      expect(checkout?.['success_url']).toContain('checkout_id={CHECKOUT_ID}');
      t.clock.advance(3_600_000);
      expect((await post('checkout', user.token, { tier: 'starter' })).body.url).not.toBe(first.body.url);
      t.clock.reset();
    });

    it('names the address only of whoever Polar does not know: there it may be of another customer by now', async () => {
      const askedFor = ({ id }: { id: string }): unknown =>
        t.polar.requests.findLast(
          ({ path, body }) => path === '/v1/checkouts/' && JSON.stringify(body).includes(id),
        )?.body;
      const known = await t.make.user();
      await sync(t, known.id);
      const email = t.make.email();
      await t.db.update(User, { id: known.id }, { email });
      t.polar.store.addCustomer({ email, external_id: randomUUID() });
      expect((await post('checkout', known.token, { tier: 'starter' })).status).toBe(200);
      expect(askedFor(known)).not.toHaveProperty('customer_email');

      t.polar.faultOf = ({ path }) => (path.startsWith('/v1/customers/') ? { status: 503 } : undefined);
      const unknown = await t.make.user();
      expect((await post('checkout', unknown.token, { tier: 'starter' })).status).toBe(200);
      expect(askedFor(unknown)).toMatchObject({ customer_email: unknown.email });
    });

    it('gives another page that is to lead back to another place', async () => {
      const user = await t.make.user();
      const page = async (path: string): Promise<string> => {
        const body = { tier: 'starter', return_url: `https://app.example.com/${path}` };
        return String((await post('checkout', user.token, body)).body.url);
      };
      const first = await page('a');
      expect(await page('a')).toBe(first);
      const second = await page('b');
      expect(second).not.toBe(first);
      expect(await page('b')).toBe(second);
    });

    it('gives another page when the one before is open no more', async () => {
      const user = await t.make.user();
      const page = async (): Promise<string> =>
        String((await post('checkout', user.token, { tier: 'starter' })).body.url);
      const tell = async (status: string): Promise<void> => {
        const id = randomUUID();
        const checkout = { id, status, customer_id: null, external_customer_id: user.id };
        await deliver(t, t.polar.store.deliver('checkout.updated', checkout));
        await t.settled();
      };
      let last = await page();
      await tell('open');
      expect(await page()).toBe(last);
      for (const status of ['confirmed', 'failed', 'expired', 'succeeded']) {
        await tell(status);
        const next = await page();
        expect([status, next === last]).toEqual([status, false]);
        last = next;
      }
    });

    it('gives another page after the one before was paid, also when only the subscription was heard of', async () => {
      const user = await t.make.user();
      const first = (await post('checkout', user.token, { tier: 'starter' })).body.url;
      const subscription = t.polar.store.subscribe(user.id, products.starter);
      await sync(t, user.id);
      subscription.status = 'canceled';
      await sync(t, user.id);
      const again = await post('checkout', user.token, { tier: 'starter' });
      expect(again.status).toBe(200);
      expect(again.body.url).not.toBe(first);
    });

    it('is made once for 20 requests in parallel', async () => {
      const user = await t.make.user();
      const before = t.polar.store.checkouts.size;
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => post('checkout', user.token, { tier: 'starter' })),
      );
      expect(t.polar.store.checkouts.size).toBe(before + 1);
      const codes = new Set(answers.map(({ status, body }) => (status === 200 ? 'ok' : body.code)));
      expect([...codes].filter((code) => code !== 'ok' && code !== 'checkout_in_progress')).toEqual([]);
      expect(codes.has('ok')).toBe(true);
    });

    it('gives nothing by itself: the redirect proves nothing', async () => {
      const user = await t.make.user();
      const { body } = await post('checkout', user.token, { tier: 'enterprise' });
      await t.http.get(`/?checkout_id=${String(body.url).split('/').at(-1)}`);
      expect((await info(user.token)).tier).toBe('free');
    });

    it('is refused while there is a subscription, and for a plan that is not sold', async () => {
      const { user } = await subscriber(t);
      expect((await post('checkout', user.token, { tier: 'professional' })).body.code).toBe(
        'subscription_exists',
      );
      expect((await post('checkout', user.token, { tier: 'internal' })).status).toBe(400);
      expect((await post('checkout', user.token, { tier: 'free' })).status).toBe(400);
    });

    it('is refused while a subscription waits for its payment, also beside a higher one that has ended', async () => {
      const user = await t.make.user();
      await sync(t, user.id);
      const { store } = t.polar;
      const ended = store.subscribe(user.id, products.professional, { status: 'canceled' });
      const late = store.subscribe(user.id, products.starter, { status: 'past_due' });
      for (const one of [ended, late])
        await deliver(t, store.deliver('subscription.updated', store.subscriptionBody(one)));
      await t.settled();
      await sync(t, user.id);
      const bought = await post('checkout', user.token, { tier: 'starter' });
      expect(bought.body.code).toBe('subscription_exists');
      expect((await post('subscription/cancel', user.token)).status).toBe(200);
      expect(late.cancel_at_period_end).toBe(true);
    });

    it('leads back to this service or an allowed origin alone', async () => {
      const user = await t.make.user();
      for (const url of [
        'https://evil.example',
        'https://app.example.com.evil.example/',
        '//evil.example',
        'javascript:alert(1)',
        'https://u:p@app.example.com/',
      ])
        expect([
          url,
          (await post('checkout', user.token, { tier: 'starter', return_url: url })).body.code,
        ]).toEqual([url, 'invalid_return_url']);
      const fine = await post('checkout', user.token, {
        tier: 'starter',
        return_url: 'https://app.example.com/billing?a=1',
      });
      expect(fine.status).toBe(200);
    });

    it.each([
      ['drop'],
      ['html'],
      [{ status: 500 }],
      [{ status: 429, retryAfter: '7' }],
      [{ status: 401 }],
    ] as const)('answers 503 when Polar fails (%j), and works afterwards', async (fault) => {
      const user = await t.make.user();
      t.polar.faultOf = ({ path }) => (path === '/v1/checkouts/' ? fault : undefined);
      const { status, body, headers } = await post('checkout', user.token, { tier: 'starter' });
      expect([status, body.code]).toEqual([503, 'billing_unavailable']);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      t.polar.heal();
      expect((await post('checkout', user.token, { tier: 'starter' })).status).toBe(200);
    });

    it('is limited per user', async () => {
      const user = await t.make.user();
      const statuses: number[] = [];
      for (let i = 0; i < 21; i++)
        statuses.push((await post('checkout', user.token, { tier: 'starter' })).status);
      expect(statuses.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => 200));
      expect(statuses[20]).toBe(429);
    });
  });

  describe('portal', () => {
    it('gives a page made for this click, of his own customer', async () => {
      const { user } = await subscriber(t);
      const [first, second] = [await post('portal', user.token), await post('portal', user.token)];
      expect(first.status).toBe(200);
      expect(second.body.url).not.toBe(first.body.url);
      const asked = t.polar.requests.filter(({ path }) => path === '/v1/customer-sessions/');
      expect(asked.at(-1)?.body).toMatchObject({ external_customer_id: user.id });
    });

    it('is refused as long as Polar does not know the account', async () => {
      const user = await t.make.user();
      await t.db.delete(BillingAccount, { userId: user.id });
      t.polar.faultOf = () => ({ status: 503 });
      expect((await post('portal', user.token)).body.code).toBe('no_billing_customer');
    });
  });

  describe('subscription', () => {
    it('changes upward at once, and the answer shows it', async () => {
      const { user } = await subscriber(t);
      const { status, body } = await post('subscription/change', user.token, { tier: 'professional' });
      expect([status, body.tier]).toEqual([200, 'professional']);
      expect(t.polar.requests.findLast(({ method }) => method === 'PATCH')?.body).toEqual({
        product_id: products.professional,
        proration_behavior: 'invoice',
      });
    });

    it('changes downward with the next period', async () => {
      const { user } = await subscriber(t, 'enterprise');
      const { status, body } = await post('subscription/change', user.token, { tier: 'starter' });
      expect([status, body.tier]).toEqual([200, 'enterprise']);
      expect(t.polar.requests.findLast(({ method }) => method === 'PATCH')?.body).toMatchObject({
        proration_behavior: 'next_period',
      });
    });

    it('ends with its period, keeps its plan until then, and goes on when resumed', async () => {
      const { user } = await subscriber(t);
      const ending = await post('subscription/cancel', user.token);
      expect(ending.body).toMatchObject({ tier: 'starter', status: 'active', cancel_at_period_end: true });
      expect((await post('subscription/resume', user.token)).body.cancel_at_period_end).toBe(false);
    });

    it('T25: is always his own, whatever the request names', async () => {
      const [{ user: victim, subscription }, { user: thief }] = [await subscriber(t), await subscriber(t)];
      const ids = {
        subscription_id: subscription.id,
        id: subscription.id,
        user_id: victim.id,
        external_customer_id: victim.id,
        customer_id: subscription.customer_id,
      };
      for (const path of ['subscription/cancel', 'subscription/resume', 'portal']) {
        await post(path, thief.token, ids);
        const query = new URLSearchParams(ids).toString();
        await t.http.post(`/auth/billing/${path}?${query}`, { bearer: thief.token, body: {} });
      }
      expect((await post('subscription/change', thief.token, { tier: 'professional', ...ids })).status).toBe(
        400,
      );
      expect(subscription).toMatchObject({ cancel_at_period_end: false, product_id: products.starter });
      expect(await info(victim.token)).toMatchObject({ tier: 'starter', cancel_at_period_end: false });
      const portals = t.polar.requests.filter(({ path }) => path === '/v1/customer-sessions/');
      expect(portals.filter(({ body }) => JSON.stringify(body).includes(victim.id))).toEqual([]);
    });

    it.each([
      ['checkout', { tier: 'starter' }],
      ['portal', {}],
      ['subscription/change', { tier: 'professional' }],
      ['subscription/cancel', {}],
      ['subscription/resume', {}],
    ])('S4: is left alone by a session that has just ended elsewhere: %s', async (path, body) => {
      const { user } = await subscriber(t);
      await info(user.token);
      await t.db.query('DELETE FROM sessions WHERE user_id = $1', [user.id]);
      const asked = (): number =>
        t.polar.requests.filter((one) =>
          /^\/v1\/(checkouts|customer-sessions|subscriptions\/.)/.test(one.path),
        ).length;
      const before = asked();
      expect((await post(path, user.token, body)).body.code).toBe('invalid_token');
      expect(asked()).toBe(before);
    });

    it('is refused to whoever has none, without a question to Polar', async () => {
      const user = await t.make.user();
      const before = t.polar.requests.filter(({ method }) => method === 'PATCH').length;
      for (const path of ['subscription/cancel', 'subscription/resume'])
        expect((await post(path, user.token)).body.code).toBe('no_subscription');
      expect((await post('subscription/change', user.token, { tier: 'starter' })).body.code).toBe(
        'no_subscription',
      );
      expect(t.polar.requests.filter(({ method }) => method === 'PATCH').length).toBe(before);
    });

    it("passes Polar's refusal on as a conflict", async () => {
      const { user } = await subscriber(t);
      t.polar.faultOf = ({ method }) => (method === 'PATCH' ? { status: 402 } : undefined);
      expect((await post('subscription/cancel', user.token)).body.code).toBe('billing_refused');
    });

    it('does not follow Polar where it is sent', async () => {
      const user = await t.make.user();
      const location = `${t.polar.url}/v1/elsewhere`;
      t.polar.faultOf = ({ path }) => (path === '/v1/elsewhere' ? undefined : { status: 302, location });
      expect((await post('checkout', user.token, { tier: 'starter' })).body.code).toBe('billing_unavailable');
      expect(seen('/v1/checkouts/')).toBeGreaterThan(0);
      expect(seen('/v1/elsewhere')).toBe(0);
    });
  });

  describe('without POLAR_API_KEY', () => {
    let off: TestApp;
    beforeAll(async () => {
      off = await startTestApp();
    });
    afterAll(() => off.close());

    it('answers reads from its own tables, and 503 to whatever needs Polar', async () => {
      const { token: bearer } = await off.make.user({ billingTier: 'starter' });
      expect((await off.http.get('/auth/billing/info', { bearer })).body).toMatchObject({
        tier: 'starter',
        status: 'none',
      });
      expect((await off.http.get('/auth/billing/events', { bearer })).body.data).toEqual([]);
      expect((await off.http.get('/auth/billing/plans', { bearer })).body.data).toHaveLength(4);
      const requests: [string, object][] = [
        ['checkout', { tier: 'starter' }],
        ['portal', {}],
        ['subscription/change', { tier: 'starter' }],
        ['subscription/cancel', {}],
        ['subscription/resume', {}],
      ];
      for (const [path, body] of requests) {
        const answer = await off.http.post(`/auth/billing/${path}`, { bearer, body });
        expect([path, answer.status, answer.body.code]).toEqual([path, 503, 'billing_not_configured']);
      }
      expect((await off.http.post('/webhooks/polar', { body: {} })).body.code).toBe('billing_not_configured');
      expect(await off.db.countBy(User, {})).toBeGreaterThan(0);
      expect(await off.db.count(BillingAccount)).toBe(0);
    });
  });
});
