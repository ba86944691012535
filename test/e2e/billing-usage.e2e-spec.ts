import { ModuleRef } from '@nestjs/core';
import { v7 as uuidv7 } from 'uuid';
import { BillingModule } from '../../src/billing/billing.module';
import { BillingOverview } from '../../src/billing/billing-overview';
import { BillingTasks } from '../../src/billing/billing-tasks';
import { Reconciler } from '../../src/billing/reconciler';
import { UsageComparer } from '../../src/billing/usage-comparer';
import { UsageOutbox } from '../../src/billing/usage-outbox.entity';
import { UsageReporter } from '../../src/billing/usage-reporter';
import { User } from '../../src/users/user.entity';
import { type BilledApp, deliver, eventually, products, startBilledApp } from '../support/billing';
import type { Fault } from '../support/fake-polar/fake-polar';
import { inBatches } from '../support/route-list';
import { describeAlone } from '../support/test-app';

jest.setTimeout(300_000);

/** Simulated hours of the long run, and how many customers it has; more by the environment. */
const HOURS = Number(process.env['BILLING_HOURS'] ?? 2);
const CUSTOMERS = Number(process.env['BILLING_CUSTOMERS'] ?? 8);
const SECOND_MS = 1_000;

describeAlone('inside')('usage on its way to Polar', () => {
  let t: BilledApp;
  let reporter: UsageReporter;

  beforeAll(async () => {
    // The tests say when; the service's own rounds would come in between.
    t = await startBilledApp({ settings: { POLAR_FLUSH_SECONDS: '3600' } });
    t.polar.store.now = () => t.clock.nowMs();
    reporter = t.app.get(UsageReporter, { strict: false });
    const stopped = t.app.get(BillingTasks, { strict: false });
    await stopped.onApplicationShutdown();
    // Its first round may have looked for a webhook endpoint, which is what a test below is about.
    await t.db.query(`UPDATE billing_tasks SET memory = '{}'`);
  });
  afterEach(async () => {
    t.polar.heal();
    t.clock.reset();
    await t.db.query('UPDATE usage_outbox SET next_attempt_at = now()');
    await reporter.take();
    await reporter.send();
    expect(t.polar.violations).toEqual([]);
  });
  afterAll(() => t.close());

  /** Metered calls of a customer, as the ledger writes them. */
  async function use(key: string, calls: number): Promise<void> {
    await inBatches(Array.from({ length: calls }), async () => {
      const body = { user_id: 'a', prompt: 'Hello, how are you?', provider: 'echo' };
      expect((await t.http.post('/generate', { key, body })).status).toBe(200);
    });
  }
  async function customer(): Promise<{ id: string; key: string }> {
    const { id } = await t.make.user({ tierOverride: 'internal' });
    return { id, key: (await t.make.apiKey({ userId: id, rateLimitPerMinute: 1_000_000 })).key };
  }
  async function ledgerOf(userId: string): Promise<number> {
    const sql = 'SELECT coalesce(sum(tokens_used), 0)::int AS tokens FROM usage_logs WHERE user_id = $1';
    return (await t.db.query<{ tokens: number }[]>(sql, [userId]))[0]?.tokens ?? 0;
  }
  const rowsOf = (userId: string): Promise<UsageOutbox[]> => t.db.findBy(UsageOutbox, { userId });
  const report = async (): Promise<void> => {
    await reporter.take();
    await reporter.send();
  };
  const ingests = (): number => t.polar.requests.filter(({ path }) => path === '/v1/events/ingest').length;

  it('stays here, with an alarm, until Polar has a meter that counts it', async () => {
    const { id, key } = await customer();
    await use(key, 2);
    // As in a process that has just started; this one may have seen the meter already.
    const fresh = await t.app.select(BillingModule).get(ModuleRef, { strict: true }).create(UsageReporter);
    const report = async (): Promise<void> => {
      await fresh.take();
      await fresh.send();
    };
    const meters = t.polar.store.things.meters.splice(0);
    const alarms = async (): Promise<string[]> =>
      (await t.app.get(BillingOverview, { strict: false }).overview()).alarms.map(({ alarm }) => alarm);
    try {
      await report();
      expect(await alarms()).toEqual(['meter_missing']);
    } finally {
      t.polar.store.things.meters.push(...meters);
    }
    t.polar.failNext({ status: 403 });
    await report();
    expect(await alarms()).toEqual(['meter_missing']);
    await report();
    expect(await alarms()).toEqual([]);
    expect(t.polar.store.total(id)).toBe(await ledgerOf(id));
  });

  it('is one event per customer and take, with the exact sum as a number', async () => {
    const { id, key } = await customer();
    await use(key, 7);
    await report();
    const events = [...t.polar.store.events.values()].filter((one) => one.external_customer_id === id);
    expect(events).toMatchObject([{ name: 'usage.tokens', metadata: { total_tokens: await ledgerOf(id) } }]);
    await report();
    expect(await rowsOf(id)).toMatchObject([{ status: 'sent', attempts: 0 }]);
  });

  const faults: readonly (readonly [Fault, number])[] = [
    ['drop', 1],
    ['html', 1],
    ['commit-then-drop', 1],
    [{ status: 500 }, 1],
    [{ status: 503 }, 1],
    [{ status: 429, retryAfter: '2' }, 0],
    [{ status: 429, retryAfter: 'Wed, 21 Oct 2026 07:28:00 GMT' }, 0],
    [{ status: 429 }, 0],
    [{ status: 401 }, 1],
    [{ status: 404 }, 1],
  ];
  it.each(faults)('R10: is counted once when Polar answers with %j', async (fault, attempts) => {
    const { id, key } = await customer();
    await use(key, 3);
    t.polar.failNext(fault);
    await report();
    const [row] = await rowsOf(id);
    expect(row).toMatchObject({ status: 'pending', attempts });
    expect(row?.nextAttemptAt.getTime()).toBeGreaterThan(t.clock.nowMs());
    t.clock.advance(61 * SECOND_MS);
    await report();
    expect(await rowsOf(id)).toMatchObject([{ status: 'sent' }]);
    expect(t.polar.store.total(id)).toBe(await ledgerOf(id));
  });

  it('R10: is sent again when Polar says it took fewer than it got', async () => {
    const { id, key } = await customer();
    await use(key, 3);
    t.polar.failNext({ status: 200, body: { inserted: 0, duplicates: 0 } });
    await report();
    expect(await rowsOf(id)).toMatchObject([{ status: 'pending', attempts: 1 }]);
    t.clock.advance(61 * SECOND_MS);
    await report();
    expect(t.polar.store.total(id)).toBe(await ledgerOf(id));
  });

  it('T36: is sent by another process when the one that took it dies, and counted once', async () => {
    const { id, key } = await customer();
    await use(key, 3);
    // The request is done, its answer never arrives, and nobody is left to wait for it.
    t.polar.failNext('commit-then-hang');
    await reporter.take();
    const lost = reporter.send();
    await eventually(() => t.polar.store.total(id) > 0);
    expect(await rowsOf(id)).toMatchObject([{ status: 'pending', attempts: 0 }]);
    t.clock.advance(31 * SECOND_MS);
    await reporter.send();
    expect(await rowsOf(id)).toMatchObject([{ status: 'sent' }]);
    t.polar.heal();
    await lost;
    expect(await rowsOf(id)).toMatchObject([{ status: 'sent' }]);
    expect(t.polar.store.total(id)).toBe(await ledgerOf(id));
  });

  it('sets the rows aside alone that Polar refuses by their place, and sends the others at once', async () => {
    const customers = [await customer(), await customer(), await customer()];
    for (const { key } of customers) await use(key, 1);
    const bad = customers[1]?.id ?? '';
    t.polar.store.refused = { customer: bad, isNamed: true };
    const before = ingests();
    await report();
    expect(ingests()).toBe(before + 2);
    expect(await rowsOf(bad)).toMatchObject([{ status: 'dead' }]);
    expect(t.polar.store.total(customers[0]?.id ?? '')).toBeGreaterThan(0);
    expect(t.polar.store.total(customers[2]?.id ?? '')).toBeGreaterThan(0);
    await t.app.get(BillingOverview, { strict: false }).watch();
    expect((await t.http.get('/health')).body.components.billing.status).toBe('degraded');
    // An operator has them sent again once the cause is gone.
    t.polar.store.refused = undefined;
    const admin = await t.make.user({ role: 'admin' });
    expect((await t.http.post('/admin/billing/reconciliation', { bearer: admin.token })).status).toBe(200);
    await reporter.send();
    expect(t.polar.store.total(bad)).toBe(await ledgerOf(bad));
  });

  it('finds the bad row by halves when Polar does not say which it is', async () => {
    const customers = await inBatches(Array.from({ length: 8 }), () => customer());
    for (const { key } of customers) await use(key, 1);
    const bad = customers[5]?.id ?? '';
    t.polar.store.refused = { customer: bad, isNamed: false };
    await report();
    t.polar.store.refused = undefined;
    const statuses = await inBatches(customers, async ({ id }) => (await rowsOf(id))[0]?.status);
    expect(statuses).toEqual(customers.map(({ id }) => (id === bad ? 'dead' : 'sent')));
    await t.db.update(UsageOutbox, { userId: bad }, { status: 'pending' });
  });

  it('gets through when our clock is ahead of that of Polar', async () => {
    const { id, key } = await customer();
    await use(key, 1);
    t.polar.store.now = () => t.clock.nowMs() - 100 * SECOND_MS;
    for (let i = 0; i < 3; i++) {
      await report();
      t.clock.advance(6 * SECOND_MS);
    }
    t.polar.store.now = () => t.clock.nowMs();
    expect(await rowsOf(id)).toMatchObject([{ status: 'sent' }]);
  });

  it('gathers as one amount while Polar takes nothing', async () => {
    const { id, key } = await customer();
    t.polar.faultOf = () => ({ status: 503 });
    for (let i = 0; i < 5; i++) {
      await use(key, 1);
      await report();
      t.clock.advance(20 * SECOND_MS);
    }
    expect(await rowsOf(id)).toHaveLength(1);
    t.polar.heal();
    for (let i = 0; i < 2; i++) {
      await report();
      t.clock.advance(1_000 * SECOND_MS);
    }
    await report();
    expect(t.polar.store.total(id)).toBe(await ledgerOf(id));
  });

  it('alarms when it waits for more than five minutes, in the log and in health, and says when that is over', async () => {
    const { key } = await customer();
    await use(key, 1);
    t.polar.faultOf = () => 'drop';
    await report();
    const overview = t.app.get(BillingOverview, { strict: false });
    t.clock.advance(301 * SECOND_MS);
    await overview.watch();
    const { body, status } = await t.http.get('/health');
    expect([status, body.status, body.components.billing.status]).toEqual([200, 'healthy', 'degraded']);
    expect((await t.http.get('/health/ready')).status).toBe(200);
    expect(t.logLines.some((line) => line.includes('"alarm":"usage_late"'))).toBe(true);
    t.polar.heal();
    t.clock.advance(1_000 * SECOND_MS);
    await report();
    await overview.watch();
    expect((await t.http.get('/health')).body.components.billing.status).toBe('up');
  });

  it('B1: metered calls are answered as ever while Polar hangs', async () => {
    const { key } = await customer();
    const timesOf = async (): Promise<number[]> => {
      const times: number[] = [];
      for (let i = 0; i < 200; i++) {
        const beganMs = performance.now();
        await use(key, 1);
        times.push(performance.now() - beganMs);
      }
      return times.sort((a, b) => a - b);
    };
    await timesOf();
    const calm = await timesOf();
    t.polar.faultOf = () => 'hang';
    const sending = report();
    const hung = await timesOf();
    t.polar.heal();
    await sending;
    const p99 = (times: number[]): number => times[Math.floor(times.length * 0.99)] ?? 0;
    process.stdout.write(
      `Polar hangs: p99 ${p99(hung).toFixed(1)} ms, calm ${p99(calm).toFixed(1)} ms, ratio ${(p99(hung) / p99(calm)).toFixed(2)}\n`,
    );
    expect(p99(hung)).toBeLessThan(2_000);
  });

  it(`T36: after ${HOURS} simulated hours with faults, lies and dead workers Polar has what the ledger has, to the token`, async () => {
    const customers = await inBatches(Array.from({ length: CUSTOMERS }), () => customer());
    const kinds: Fault[] = [
      'drop',
      'html',
      'commit-then-drop',
      'lie',
      { status: 500 },
      { status: 429, retryAfter: '3' },
    ];
    let n = 0;
    const counted = { faults: 0, deaths: 0 };
    // One in ten requests fails, each way in turn; the same in every run.
    t.polar.faultOf = () => {
      n += 1;
      if (n % 10 !== 0) return undefined;
      counted.faults += 1;
      return kinds[(n / 10) % kinds.length];
    };
    for (let minute = 0; minute < HOURS * 60; minute++) {
      const { key } = customers[minute % customers.length] ?? { key: '' };
      await use(key, 1 + (minute % 3));
      await reporter.take();
      if (minute % 7 === 3) {
        // A worker takes what is due and is killed before, or after, Polar heard of it.
        counted.deaths += 1;
        await dieSending(minute % 2 === 0);
      } else await reporter.send();
      t.clock.advance(60 * SECOND_MS);
    }
    t.polar.heal();
    const comparer = t.app.get(UsageComparer, { strict: false });
    for (let i = 0; i < 3; i++) {
      t.clock.advance(1_000 * SECOND_MS);
      await reporter.take();
      await reporter.send();
      await comparer.compareAll();
      while ((await comparer.compareDue()) > 0);
    }
    for (const { id } of customers) expect([id, t.polar.store.total(id)]).toEqual([id, await ledgerOf(id)]);
    const admin = await t.make.user({ role: 'admin' });
    const { body } = await t.http.get('/admin/billing/reconciliation', { bearer: admin.token });
    expect(body.drifts).toEqual([]);
    expect(body.meters).toMatchObject([{ meter: 'tokens', waiting: '0', on_their_way: '0', set_aside: '0' }]);
    expect(body.meters[0].sent).toBe(body.meters[0].ledger);
    process.stdout.write(
      `${HOURS} simulated hours: ${n} requests, ${counted.faults} faults, ${counted.deaths} dead workers, ${t.polar.store.events.size} events, drift 0\n`,
    );
  });

  /** Claims what is due as a worker does, perhaps tells Polar, and is heard of no more. */
  async function dieSending(hasSent: boolean): Promise<void> {
    const rows = await t.db.query<[{ id: string; user_id: string; amount: string }[], number]>(
      `UPDATE usage_outbox SET next_attempt_at = $1::timestamptz + interval '30 seconds'
       WHERE status = 'pending' AND next_attempt_at <= $1 RETURNING id, user_id, amount`,
      [t.clock.now()],
    );
    if (!hasSent) return;
    for (const { id, user_id: userId, amount } of rows[0]) {
      const event = { name: 'usage.tokens', external_customer_id: userId, external_id: `usage:${id}` };
      const metadata = { total_tokens: Number(amount) };
      if (!t.polar.store.events.has(event.external_id))
        t.polar.store.events.set(event.external_id, {
          ...event,
          timestamp: t.clock.now().toISOString(),
          metadata,
        });
    }
  }

  describe('and back', () => {
    it('what Polar lost is found by the comparison, sent again and then equal', async () => {
      const { id, key } = await customer();
      await use(key, 5);
      t.polar.failNext('lie');
      await report();
      expect(t.polar.store.total(id)).toBe(0);
      const comparer = t.app.get(UsageComparer, { strict: false });
      while ((await comparer.compareDue()) > 0);
      const admin = await t.make.user({ role: 'admin' });
      const shown = await t.http.get('/admin/billing/reconciliation', { bearer: admin.token });
      const tokens = await ledgerOf(id);
      expect(shown.body.drifts).toMatchObject([
        { user_id: id, meter: 'tokens', polar: '0', drift: String(-tokens) },
      ]);
      await reporter.send();
      expect(t.polar.store.total(id)).toBe(tokens);
      t.clock.advance(601 * SECOND_MS);
      while ((await comparer.compareDue()) > 0);
      const healed = await t.http.get('/admin/billing/reconciliation', { bearer: admin.token });
      expect(healed.body.drifts).toEqual([]);
    });

    it('R11: plans that were bought or ended while nobody listened are found', async () => {
      const [bought, ended] = [await t.make.user(), await t.make.user({ billingTier: 'professional' })];
      await t.db.query('INSERT INTO billing_accounts (user_id) VALUES ($1), ($2)', [bought.id, ended.id]);
      t.polar.store.subscribe(bought.id, products.starter);
      await t.app.get(Reconciler, { strict: false }).reconcile();
      const due = await t.db.query<{ user_id: string }[]>(
        'SELECT user_id FROM billing_accounts WHERE sync_at <= $1',
        [t.clock.now()],
      );
      expect(due.map(({ user_id: id }) => id)).toEqual(expect.arrayContaining([bought.id, ended.id]));
      const tasks = t.app.get(BillingTasks, { strict: false });
      await eventually(async () => {
        t.clock.advance(SECOND_MS);
        await tasks.runDue();
        const tiers = await Promise.all(
          [bought, ended].map(async ({ id }) => (await t.db.findOneByOrFail(User, { id })).tier),
        );
        return tiers.join() === 'starter,free';
      });
    });

    it('R11: deliveries that failed while nobody listened are asked for again, but not those that are stored', async () => {
      const { store } = t.polar;
      const reconciler = t.app.get(Reconciler, { strict: false });
      const url = `${t.env.PUBLIC_URL}/api/v1/webhooks/polar`;
      store.things.endpoints.push({ id: uuidv7(), url, enabled: true, secret: 's' });
      const failed = (minutesAgo: number, isArchived = false): string => {
        const id = uuidv7();
        const at = new Date(t.clock.nowMs() - minutesAgo * 60_000).toISOString();
        const event = { id, created_at: at, is_archived: isArchived };
        for (let attempt = 0; attempt < 10; attempt++)
          store.deliveries.push({ succeeded: false, created_at: at, webhook_event: event });
        return id;
      };
      await reconciler.reconcile();
      await t.db.query(`UPDATE billing_tasks SET succeeded_at = $1 WHERE name = 'reconcile'`, [
        t.clock.now(),
      ]);
      t.clock.advance(3 * 86_400 * SECOND_MS);
      failed(4 * 1_440);
      failed(5, true);
      store.forgotten.add(failed(3 * 1_440 - 5));
      const [missed, late] = [failed(2 * 1_440), failed(5)];
      const arrived = failed(10);
      await deliver(t, store.deliver('order.paid', { id: uuidv7() }, { id: arrived }));
      await reconciler.reconcile();
      expect(store.redeliveries.sort()).toEqual([missed, late].sort());
      store.things.endpoints.length = 0;
    });

    it('a webhook endpoint that is off or missing is an alarm', async () => {
      const reconciler = t.app.get(Reconciler, { strict: false });
      const overview = t.app.get(BillingOverview, { strict: false });
      const { endpoints } = t.polar.store.things;
      const alarms = async (): Promise<string[]> => {
        await reconciler.reconcile();
        return (await overview.overview()).alarms.map(({ alarm }) => alarm);
      };
      expect(await alarms()).toContain('webhooks_missing');
      const endpoint = {
        id: uuidv7(),
        url: `${t.env.PUBLIC_URL}/api/v1/webhooks/polar`,
        enabled: false,
        secret: 's',
      };
      endpoints.push(endpoint);
      expect(await alarms()).toContain('webhooks_disabled');
      endpoint.enabled = true;
      expect(await alarms()).toEqual([]);
    });
  });
});
