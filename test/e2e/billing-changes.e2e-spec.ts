import { type BilledApp, deliver, products, startBilledApp, subscriber, sync } from '../support/billing';
import type { Fault } from '../support/fake-polar/fake-polar';

jest.setTimeout(90_000);

describe('a change of the plan', () => {
  let t: BilledApp;

  beforeAll(async () => {
    t = await startBilledApp();
  });
  afterEach(() => {
    t.polar.heal();
    expect(t.polar.violations).toEqual([]);
  });
  afterAll(() => t.close());

  const post = (path: string, bearer: string, body: object = {}) =>
    t.http.post(`/auth/billing/${path}`, { bearer, body });
  const change = (bearer: string, tier: string) => post('subscription/change', bearer, { tier });
  const info = async (bearer: string) => (await t.http.get('/auth/billing/info', { bearer })).body;
  /** What becomes of a change of a subscription. */
  const onChange = (fault: Fault): void => {
    t.polar.faultOf = ({ method, path }) =>
      method === 'PATCH' && path.startsWith('/v1/subscriptions/') ? fault : undefined;
  };

  it('is refused while the subscription is to end, leaves it to end, and is made once it was resumed', async () => {
    const { user, subscription } = await subscriber(t);
    await post('subscription/cancel', user.token);
    onChange({ status: 500 });
    const { status, body } = await change(user.token, 'professional');
    expect([status, body.code]).toEqual([409, 'subscription_ends']);
    expect(subscription).toMatchObject({ cancel_at_period_end: true, product_id: products.starter });
    t.polar.heal();
    await post('subscription/resume', user.token);
    expect((await change(user.token, 'professional')).body).toMatchObject({
      tier: 'professional',
      cancel_at_period_end: false,
    });
  });

  it.each([[402], [403], [409], [422], [429]])(
    'leaves everything as it was when Polar does not make it (%d)',
    async (status) => {
      const { user, subscription } = await subscriber(t);
      onChange({ status });
      const answer = await change(user.token, 'professional');
      expect(answer.body.code).toMatch(/^billing_(refused|unavailable)$/);
      expect(subscription.product_id).toBe(products.starter);
      expect((await info(user.token)).tier).toBe('starter');
    },
  );

  it('says so when nobody knows whether it was made, and shows what is true once Polar answers', async () => {
    const { user } = await subscriber(t);
    onChange('commit-then-drop');
    const { status, body } = await change(user.token, 'professional');
    expect([status, body.code]).toEqual([503, 'billing_outcome_unknown']);
    t.polar.heal();
    await sync(t, user.id);
    expect((await info(user.token)).tier).toBe('professional');
  });

  describe('of which nothing was heard here', () => {
    it('is found before a request is taken for done', async () => {
      const { user, subscription } = await subscriber(t, 'professional');
      await post('subscription/cancel', user.token);
      subscription.cancel_at_period_end = false;
      expect((await post('subscription/cancel', user.token)).body.cancel_at_period_end).toBe(true);
      expect(subscription.cancel_at_period_end).toBe(true);

      await post('subscription/resume', user.token);
      subscription.cancel_at_period_end = true;
      expect((await post('subscription/resume', user.token)).body.cancel_at_period_end).toBe(false);
      expect(subscription.cancel_at_period_end).toBe(false);

      const pending = { product_id: products.starter, applies_at: subscription.current_period_end };
      subscription.pending_update = pending;
      expect((await change(user.token, 'professional')).status).toBe(200);
      expect(subscription.pending_update).toBeNull();

      subscription.product_id = products.starter;
      expect((await change(user.token, 'professional')).body.tier).toBe('professional');
      expect(subscription.product_id).toBe(products.professional);
    });

    it('gives no plan back that ended with a late payment', async () => {
      const { user, subscription } = await subscriber(t);
      subscription.status = 'past_due';
      const { store } = t.polar;
      await deliver(t, store.deliver('subscription.past_due', store.subscriptionBody(subscription)));
      await t.settled();
      await sync(t, user.id);
      expect((await post('subscription/resume', user.token)).body).toMatchObject({
        tier: 'free',
        status: 'past_due',
      });
    });

    it('makes a request fail that may have something to do, while Polar does not answer', async () => {
      const { user } = await subscriber(t);
      t.polar.faultOf = () => 'drop';
      const answers = [await post('subscription/resume', user.token), await change(user.token, 'starter')];
      for (const { status, body } of answers)
        expect([status, body.code]).toEqual([503, 'billing_unavailable']);
    });
  });

  describe('to a lower one', () => {
    it('is shown until it comes, and has come with the next period', async () => {
      const { user, subscription } = await subscriber(t, 'enterprise');
      expect((await info(user.token)).pending_tier).toBeNull();
      const { body } = await change(user.token, 'starter');
      expect(body).toMatchObject({ tier: 'enterprise', pending_tier: 'starter' });
      await sync(t, user.id);
      expect(await info(user.token)).toMatchObject({ tier: 'enterprise', pending_tier: 'starter' });
      t.polar.store.renew(subscription);
      await sync(t, user.id);
      expect(await info(user.token)).toMatchObject({ tier: 'starter', pending_tier: null });
    });

    it('is taken back by asking for the plan that he has, or for a higher one', async () => {
      const { user, subscription } = await subscriber(t, 'professional');
      for (const tier of ['professional', 'enterprise']) {
        await change(user.token, 'starter');
        expect(subscription.pending_update).toMatchObject({ product_id: products.starter });
        expect((await change(user.token, tier)).body).toMatchObject({ tier, pending_tier: null });
        expect(subscription.pending_update).toBeNull();
      }
    });

    it('is known when it was made at Polar, and is not to come when the subscription is to end', async () => {
      const { user, subscription } = await subscriber(t, 'professional');
      const pending = { product_id: products.starter, applies_at: subscription.current_period_end };
      subscription.pending_update = pending;
      const { store } = t.polar;
      await deliver(t, store.deliver('subscription.updated', store.subscriptionBody(subscription)));
      await t.settled();
      expect((await info(user.token)).pending_tier).toBe('starter');
      expect((await post('subscription/cancel', user.token)).body.pending_tier).toBeNull();
      expect((await post('subscription/resume', user.token)).body.pending_tier).toBe('starter');
    });

    it('is that also from a product that the settings name no more', async () => {
      const user = await t.make.user();
      const { store } = t.polar;
      const subscription = store.subscribe(user.id, store.addProduct('professional').id);
      await deliver(t, store.deliver('subscription.active', store.subscriptionBody(subscription)));
      await t.settled();
      await sync(t, user.id);
      expect((await change(user.token, 'starter')).body).toMatchObject({
        tier: 'professional',
        pending_tier: 'starter',
      });
      expect(t.polar.requests.findLast(({ method }) => method === 'PATCH')?.body).toEqual({
        product_id: products.starter,
        proration_behavior: 'next_period',
      });
    });

    it('is not asked of Polar when there is none to take back', async () => {
      const { user } = await subscriber(t);
      const before = t.polar.requests.length;
      expect((await change(user.token, 'starter')).body.tier).toBe('starter');
      expect(t.polar.requests.slice(before).filter(({ method }) => method === 'PATCH')).toEqual([]);
    });
  });
});
