import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { CustomerSync } from '../../src/billing/customer-sync';
import type { Delivery } from './fake-polar/polar-store';
import { FakePolar } from './fake-polar/fake-polar';
import type { Answer } from './http';
import { startTestApp, type TestApp } from './test-app';

/** The products that sell the plans. */
export const products = { starter: randomUUID(), professional: randomUUID(), enterprise: randomUUID() };

const LIMIT_MS = 15_000;
const POLL_MS = 20;

/** A service that is billed by a Polar of its own. */
export interface BilledApp extends TestApp {
  readonly polar: FakePolar;
}

/** Its Polar has what `npm run polar:setup` makes, as far as the service asks for it. @param polar to share with another application. */
export async function startBilledApp(
  options: { settings?: Record<string, string>; databaseUrl?: string; polar?: FakePolar } = {},
): Promise<BilledApp> {
  const polar = options.polar ?? (await FakePolar.start());
  if (!options.polar) polar.store.things.meters.push({ id: randomUUID(), name: 'usage.tokens' });
  const t = await startTestApp({
    ...(options.databaseUrl !== undefined && { databaseUrl: options.databaseUrl }),
    settings: {
      ...polar.settings({
        POLAR_PRODUCT_STARTER: products.starter,
        POLAR_PRODUCT_PROFESSIONAL: products.professional,
        POLAR_PRODUCT_ENTERPRISE: products.enterprise,
      }),
      ...options.settings,
    },
  });
  const close = async (): Promise<void> => {
    await t.close();
    if (!options.polar) await polar.stop();
  };
  return { ...t, polar, close };
}

/** Sends a delivery as Polar does. */
export function deliver(t: TestApp, { body, headers }: Delivery): Promise<Answer> {
  return t.http.post('/webhooks/polar', { raw: body, headers });
}

/** Has a user's customer made and his state read now, and not when it is due. */
export async function sync(t: TestApp, userId: string): Promise<void> {
  await t.app.get(CustomerSync, { strict: false }).sync(userId);
}

/** A user who has bought a plan, as the service knows it. */
export async function subscriber(t: BilledApp, tier: keyof typeof products = 'starter') {
  const user = await t.make.user();
  await sync(t, user.id);
  const subscription = t.polar.store.subscribe(user.id, products[tier]);
  await sync(t, user.id);
  return { user, subscription };
}

/** Asks until the condition holds. @throws Error when that takes too long. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + LIMIT_MS;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error('It did not come about.');
    await delay(POLL_MS);
  }
}
