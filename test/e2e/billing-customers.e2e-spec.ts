import { v7 as uuidv7 } from 'uuid';
import { BillingAccount } from '../../src/billing/billing-account.entity';
import { BillingEvent } from '../../src/billing/billing-event.entity';
import { CustomerSync } from '../../src/billing/customer-sync';
import { erasedUser } from '../../src/users/erased-user';
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
import { PASSWORD } from '../support/factory';
import { makeJobsDue } from '../support/jobs';

jest.setTimeout(90_000);

describe('customers at Polar', () => {
  let t: BilledApp;

  beforeAll(async () => {
    // The service's own rounds of sending would come in between.
    t = await startBilledApp({ settings: { POLAR_FLUSH_SECONDS: '3600' } });
  });
  afterEach(() => {
    t.polar.heal();
    expect(t.polar.violations).toEqual([]);
  });
  afterAll(() => t.close());

  const accountOf = (userId: string): Promise<BillingAccount | null> =>
    t.db.findOneBy(BillingAccount, { userId });
  const erase = async (bearer: string): Promise<void> => {
    const { status } = await t.http.delete('/auth/me', { bearer, body: { password: PASSWORD } });
    expect(status).toBe(200);
    await t.settled();
  };
  const linkIn = async (address: string, page: string): Promise<string> => {
    const mails = await t.mails(address);
    return mails.flatMap(({ text }) => new RegExp(`/${page}#token=([\\w-]+)`).exec(text)?.[1] ?? [])[0] ?? '';
  };
  /** Moves an account to another address, by the link mailed there. */
  const move = async (bearer: string): Promise<string> => {
    const email = t.make.email();
    const body = { new_email: email, current_password: PASSWORD };
    expect((await t.http.post('/auth/me/email', { bearer, body })).status).toBe(200);
    const token = await linkIn(email, 'confirm-email');
    expect((await t.http.post('/auth/me/email/confirm', { body: { token } })).status).toBe(200);
    return email;
  };

  describe('whose address changes', () => {
    it('have the new one once it is proven, and the old one again when that is undone', async () => {
      const { user } = await subscriber(t);
      const customer = t.polar.store.customerOf(user.id);
      const email = await move(user.token);
      await eventually(() => customer?.email === email);
      const token = await linkIn(user.email, 'undo-email');
      expect((await t.http.post('/auth/me/email/undo', { body: { token } })).status).toBe(200);
      await eventually(() => customer?.email === user.email);
    });

    it('keep the one at Polar that Polar will not change, and all else is read nevertheless', async () => {
      const { user, subscription } = await subscriber(t);
      const email = t.make.email();
      t.polar.store.addCustomer({ email });
      await t.db.update(User, { id: user.id }, { email });
      subscription.cancel_at_period_end = true;
      await sync(t, user.id);
      expect(await accountOf(user.id)).toMatchObject({
        syncFailures: 0,
        subscription: { cancelAtPeriodEnd: true },
      });
      expect(t.polar.store.customerOf(user.id)?.email).toBe(user.email);
    });
  });

  describe('whose account is erased', () => {
    it('stay until Polar has taken all that they used', async () => {
      const { user } = await subscriber(t);
      const { key } = await t.make.apiKey({ userId: user.id });
      const call = { user_id: 'a', prompt: 'Hello', provider: 'echo' };
      const { usage } = (await t.http.post('/generate', { key, body: call })).body;
      const customer = t.polar.store.customerOf(user.id);
      t.polar.faultOf = ({ path }) => (path === '/v1/events/ingest' ? { status: 503 } : undefined);
      await erase(user.token);
      expect(customer?.deleted_at).toBeNull();
      t.polar.heal();
      await t.db.query('UPDATE usage_outbox SET next_attempt_at = now()');
      await makeJobsDue(t.db);
      await t.settled();
      expect(customer?.deleted_at).not.toBeNull();
      expect(t.polar.store.total(user.id)).toBe(usage.total_tokens);
    });

    it('are taken out again when a checkout was paid afterwards', async () => {
      const { user } = await subscriber(t);
      await erase(user.token);
      const { store } = t.polar;
      const subscription = store.subscribe(user.id, products.starter);
      const customer = store.customerOf(user.id);
      await deliver(t, store.deliver('subscription.active', store.subscriptionBody(subscription)));
      await t.settled();
      await sync(t, user.id);
      await t.settled();
      expect(customer?.deleted_at).not.toBeNull();
      expect(subscription.status).toBe('canceled');
    });

    it('are taken out however long Polar will not', async () => {
      const { user } = await subscriber(t);
      const customer = t.polar.store.customerOf(user.id);
      t.polar.faultOf = ({ method }) => (method === 'DELETE' ? { status: 401 } : undefined);
      await erase(user.token);
      // Each has its last try.
      await t.db.query(`UPDATE pgboss.job SET retry_count = retry_limit WHERE state < 'active'`);
      await makeJobsDue(t.db);
      await t.settled();
      expect(customer?.deleted_at).toBeNull();
      t.polar.heal();
      await makeJobsDue(t.db);
      await t.settled();
      expect(customer?.deleted_at).not.toBeNull();
    });

    it('leave nothing in what is delivered later, also when it is not as documented', async () => {
      const { user, subscription } = await subscriber(t);
      const { store } = t.polar;
      const body = store.subscriptionBody(subscription);
      const late = [
        store.deliver('subscription.updated', body),
        store.deliver('subscription.canceled', { ...body, status: 7 }),
      ];
      await erase(user.token);
      for (const delivery of late) expect((await deliver(t, delivery)).status).toBe(202);
      await t.settled();
      const events = await t.db.find(BillingEvent, { where: { userId: user.id }, order: { id: 'ASC' } });
      expect(events).toMatchObject([
        { status: 'processed', payload: null },
        { status: 'failed', payload: null },
      ]);
    });

    it('are not made anew by whatever is heard of them later', async () => {
      const user = await t.make.user();
      await erase(user.token);
      await sync(t, user.id);
      expect(t.polar.store.customerOf(user.id)).toBeUndefined();
      expect((await accountOf(user.id))?.syncAt ?? null).toBeNull();
    });

    it('are not made in the first place', async () => {
      const id = uuidv7();
      await t.make.user({ id, email: erasedUser(id, new Date()).email ?? '' });
      const { id: next } = await t.make.user();
      await t.app.get(CustomerSync, { strict: false }).adopt();
      expect(await accountOf(next)).not.toBeNull();
      expect(await accountOf(id)).toBeNull();
    });
  });

  it('are asked about again when something was heard while Polar answered', async () => {
    const { user, subscription } = await subscriber(t);
    expect((await accountOf(user.id))?.syncAt).toBeNull();
    const { store } = t.polar;
    t.polar.faultOf = async ({ path }) => {
      if (!path.includes(user.id)) return undefined;
      await deliver(t, store.deliver('subscription.updated', store.subscriptionBody(subscription)));
      await t.settled();
      return undefined;
    };
    await sync(t, user.id);
    expect((await accountOf(user.id))?.syncAt).not.toBeNull();
  });
});
