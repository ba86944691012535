import { randomUUID } from 'node:crypto';
import { type PolarStore, Refusal, type StoredCustomer, type StoredEvent, type Thing } from './polar-store';

/** A request that is as the contract says. */
export interface PolarRequest {
  readonly method: string;
  readonly path: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the contract has checked it
  readonly body: any;
  readonly query: URLSearchParams;
  /** Say that it was done, and do nothing. */
  readonly isLie: boolean;
}

export interface PolarAnswer {
  readonly status: number;
  readonly body: unknown;
}

type Route = (store: PolarStore, request: PolarRequest, id: string) => unknown;

const HOUR_MS = 3_600_000;

const routes: readonly (readonly [method: string, pattern: RegExp, status: number, route: Route])[] = [
  ['POST', /^\/v1\/customers\/$/, 201, createCustomer],
  ['GET', /^\/v1\/customers\/$/, 200, listCustomers],
  [
    'GET',
    /^\/v1\/customers\/external\/([^/]+)\/state$/,
    200,
    (store, _, id) => store.stateBody(external(store, id)),
  ],
  [
    'GET',
    /^\/v1\/customers\/external\/([^/]+)$/,
    200,
    (store, _, id) => store.customerBody(external(store, id)),
  ],
  ['DELETE', /^\/v1\/customers\/external\/([^/]+)$/, 200, deleteCustomer],
  ['PATCH', /^\/v1\/customers\/([^/]+)$/, 200, updateCustomer],
  ['POST', /^\/v1\/checkouts\/$/, 201, createCheckout],
  ['GET', /^\/v1\/subscriptions\/$/, 200, listSubscriptions],
  ['GET', /^\/v1\/subscriptions\/([^/]+)$/, 200, getSubscription],
  ['PATCH', /^\/v1\/subscriptions\/([^/]+)$/, 200, updateSubscription],
  ['POST', /^\/v1\/customer-sessions\/$/, 201, createSession],
  ['POST', /^\/v1\/events\/ingest$/, 200, ingest],
  ['GET', /^\/v1\/meters\/([^/]+)\/quantities$/, 200, quantities],
  ['POST', /^\/v1\/products\/([^/]+)\/benefits$/, 200, setBenefits],
  ['GET', /^\/v1\/(meters|products|benefits)\/$/, 200, (store, _, kind) => page(listOf(store, kind))],
  [
    'POST',
    /^\/v1\/(meters|products|benefits)\/$/,
    201,
    (store, request, kind) => add(listOf(store, kind), request),
  ],
  ['GET', /^\/v1\/webhooks\/endpoints$/, 200, (store) => page(store.things.endpoints)],
  ['POST', /^\/v1\/webhooks\/endpoints$/, 201, createEndpoint],
  [
    'PATCH',
    /^\/v1\/webhooks\/endpoints\/([^/]+)$/,
    200,
    (store, request, id) => change(store.things.endpoints, id, request),
  ],
  ['GET', /^\/v1\/webhooks\/deliveries$/, 200, listDeliveries],
  ['POST', /^\/v1\/webhooks\/events\/([^/]+)\/redeliver$/, 202, redeliver],
];

/** Does what a request asks for. @throws Refusal */
export function answerRequest(store: PolarStore, request: PolarRequest): PolarAnswer {
  for (const [method, pattern, status, route] of routes) {
    const match = pattern.exec(request.path);
    if (match && method === request.method)
      return { status, body: route(store, request, decodeURIComponent(match[1] ?? '')) };
  }
  throw Refusal.notFound();
}

function external(store: PolarStore, id: string): StoredCustomer {
  const customer = store.customerOf(id);
  if (!customer) throw Refusal.notFound();
  return customer;
}

function createCustomer(store: PolarStore, { body, isLie }: PolarRequest): unknown {
  const all = [...store.customers.values()].filter(({ deleted_at: deleted }) => deleted === null);
  if (all.some(({ email }) => email.toLowerCase() === String(body.email).toLowerCase()))
    throw Refusal.invalid(['body', 'email'], 'A customer with this email address already exists.');
  if (all.some(({ external_id: id }) => id !== null && id === body.external_id))
    throw Refusal.invalid(['body', 'external_id'], 'A customer with this external ID already exists.');
  if (isLie) return store.customerBody({ id: randomUUID(), deleted_at: null, ...body });
  return store.customerBody(store.addCustomer(body));
}

function listCustomers(store: PolarStore, { query }: PolarRequest): unknown {
  const email = query.get('email')?.toLowerCase();
  const found = [...store.customers.values()].filter((one) => !email || one.email.toLowerCase() === email);
  return page(found.map((one) => store.customerBody(one)));
}

function updateCustomer(store: PolarStore, { body }: PolarRequest, id: string): unknown {
  const customer = store.customers.get(id);
  if (!customer) throw Refusal.notFound();
  if (
    body.external_id !== undefined &&
    customer.external_id !== null &&
    customer.external_id !== body.external_id
  )
    throw Refusal.invalid(['body', 'external_id'], 'Customer external ID cannot be updated.');
  if ([...store.customers.values()].some((one) => one !== customer && one.email === body.email))
    throw Refusal.invalid(['body', 'email'], 'A customer with this email address already exists.');
  return store.customerBody(Object.assign(customer, body));
}

function deleteCustomer(store: PolarStore, { query }: PolarRequest, id: string): unknown {
  const customer = external(store, id);
  customer.deleted_at = new Date(store.now()).toISOString();
  if (query.get('anonymize') === 'true')
    Object.assign(customer, { email: `${customer.id}@anonymous`, name: null });
  for (const one of store.subscriptions.values())
    if (one.customer_id === customer.id) one.status = 'canceled';
  return null;
}

function createCheckout(store: PolarStore, { body }: PolarRequest): unknown {
  const owner = [...store.customers.values()].find(({ email }) => email === body.customer_email);
  if (owner?.external_id && owner.external_id !== body.external_customer_id)
    throw Refusal.invalid(['body', 'customer_email'], 'This e-mail address is of another customer.');
  const id = randomUUID();
  const url = `https://polar.example/checkout/${id}`;
  const expires = new Date(store.now() + HOUR_MS).toISOString();
  const checkout = { id, url, status: 'open', expires_at: expires, ...(body as object) };
  store.checkouts.set(id, checkout);
  return checkout;
}

function listSubscriptions(store: PolarStore, { query }: PolarRequest): unknown {
  const isActive = (status: string): boolean => ['active', 'trialing'].includes(status);
  const all = [...store.subscriptions.values()].filter(
    ({ status }) => query.get('active') !== 'true' || isActive(status),
  );
  return page(
    all.map((one) => store.subscriptionBody(one)),
    query,
  );
}

function getSubscription(store: PolarStore, _request: PolarRequest, id: string): unknown {
  const subscription = store.subscriptions.get(id);
  if (!subscription) throw Refusal.notFound();
  return store.subscriptionBody(subscription);
}

function updateSubscription(store: PolarStore, { body }: PolarRequest, id: string): unknown {
  const subscription = store.subscriptions.get(id);
  if (!subscription) throw Refusal.notFound();
  if (subscription.status === 'canceled' || (subscription.cancel_at_period_end && body.product_id))
    throw new Refusal(403, {
      error: 'AlreadyCanceledSubscription',
      detail: 'This subscription is canceled.',
    });
  if ('pending_update' in body && subscription.pending_update === null)
    throw Refusal.invalid(['body', 'pending_update'], 'This subscription has no pending update to clear.');
  const { proration_behavior: proration, ...changes } = body;
  // Until the next period the old product stays; another one at once takes back what was to come.
  const pending = { product_id: changes.product_id, applies_at: subscription.current_period_end };
  if (proration === 'next_period') subscription.pending_update = pending;
  else Object.assign(subscription, changes.product_id && { pending_update: null }, changes);
  return store.subscriptionBody(subscription);
}

function createSession(store: PolarStore, { body }: PolarRequest): unknown {
  if (!store.customerOf(body.external_customer_id))
    throw Refusal.invalid(['body', 'external_customer_id'], 'Customer does not exist.');
  const id = randomUUID();
  return {
    id,
    token: `polar_cst_${id}`,
    expires_at: new Date(store.now() + HOUR_MS).toISOString(),
    customer_portal_url: `https://polar.example/portal?token=${id}`,
  };
}

/** All or nothing; an event counts once, for ever, in the meters that there are when it comes. */
function ingest(store: PolarStore, { body, isLie }: PolarRequest): unknown {
  const events = body.events as StoredEvent[];
  const late = events.flatMap(({ timestamp }, i) => (Date.parse(timestamp) > store.now() ? [i] : []));
  if (late.length > 0) {
    const detail = late.map((i) => ({
      loc: ['body', 'events', i, 'timestamp'],
      msg: 'Timestamp must be in the past.',
      type: 'value_error',
    }));
    throw new Refusal(422, { detail });
  }
  refuse(store, events);
  if (isLie) return { inserted: events.length, duplicates: 0 };
  let inserted = 0;
  for (const event of events) {
    if (store.events.has(event.external_id)) continue;
    const isUncounted = !store.things.meters.some(({ name }) => name === event.name);
    store.events.set(event.external_id, { ...event, isUncounted });
    inserted += 1;
  }
  return { inserted, duplicates: events.length - inserted };
}

function refuse({ refused }: PolarStore, events: readonly StoredEvent[]): void {
  const bad = events.flatMap((event, i) => (event.external_customer_id === refused?.customer ? [i] : []));
  const places = refused?.isNamed ? bad.map((i) => ['body', 'events', i, 'metadata']) : [['body']];
  const detail = places.map((loc) => ({ loc, msg: 'Refused.', type: 'value_error' }));
  if (bad.length > 0) throw new Refusal(422, { detail });
}

function quantities(store: PolarStore, { query }: PolarRequest, id: string): unknown {
  if (!store.things.meters.some((meter) => meter.id === id)) throw Refusal.notFound();
  return { quantities: [], total: store.total(query.get('external_customer_id') ?? '') };
}

function setBenefits(store: PolarStore, { body }: PolarRequest, id: string): unknown {
  return change(store.things.products, id, {
    body: { benefits: (body.benefits as string[]).map((one) => ({ id: one })) },
  });
}

function createEndpoint(store: PolarStore, request: PolarRequest): unknown {
  return add(store.things.endpoints, {
    body: { ...(request.body as object), enabled: true, secret: store.webhookSecret },
  });
}

function listOf(store: PolarStore, kind: string): Thing[] {
  return store.things[kind as 'meters' | 'products' | 'benefits'];
}

function add(list: Thing[], { body }: Pick<PolarRequest, 'body'>): Thing {
  const thing = { benefits: [], is_archived: false, ...(body as object), id: randomUUID() };
  list.push(thing);
  return thing;
}

function change(list: readonly Thing[], id: string, { body }: Pick<PolarRequest, 'body'>): Thing {
  const thing = list.find((one) => one.id === id);
  if (!thing) throw Refusal.notFound();
  return Object.assign(thing, body);
}

function page(items: readonly unknown[], query = new URLSearchParams()): unknown {
  const limit = Number(query.get('limit') ?? 100);
  const from = (Number(query.get('page') ?? 1) - 1) * limit;
  const pagination = { total_count: items.length, max_page: Math.max(1, Math.ceil(items.length / limit)) };
  return { items: items.slice(from, from + limit), pagination };
}

function listDeliveries(store: PolarStore, { query }: PolarRequest): unknown {
  const since = Date.parse(query.get('start_timestamp') ?? '1970-01-01');
  const isAsked = ({ succeeded, created_at: at }: PolarStore['deliveries'][number]): boolean =>
    String(succeeded) === query.get('succeeded') && Date.parse(at) >= since;
  return page(store.deliveries.filter(isAsked), query);
}

function redeliver(store: PolarStore, _request: PolarRequest, id: string): unknown {
  if (!store.deliveries.some(({ webhook_event: event }) => event.id === id) || store.forgotten.has(id))
    throw Refusal.notFound();
  store.redeliveries.push(id);
  return null;
}
