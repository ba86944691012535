import { createHmac, randomBytes, randomUUID } from 'node:crypto';

/** What Polar answers when it will not. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly body: unknown,
  ) {
    super(`refused with ${status}`);
  }

  static notFound(): Refusal {
    return new Refusal(404, { error: 'ResourceNotFound', detail: 'Not found' });
  }

  static invalid(loc: (string | number)[], msg: string): Refusal {
    return new Refusal(422, { error: 'RequestValidationError', detail: [{ loc, msg, type: 'value_error' }] });
  }
}

export interface StoredCustomer {
  readonly id: string;
  external_id: string | null;
  email: string;
  name: string | null;
  metadata: object;
  deleted_at: string | null;
}

export interface StoredSubscription {
  readonly id: string;
  readonly customer_id: string;
  product_id: string;
  status: string;
  cancel_at_period_end: boolean;
  current_period_start: string;
  current_period_end: string;
  pending_update: { product_id: string; applies_at: string } | null;
}

export interface StoredEvent {
  readonly name: string;
  readonly external_customer_id: string;
  readonly external_id: string;
  readonly timestamp: string;
  readonly metadata: Record<string, unknown>;
  /** It came before there was a meter for it. */
  readonly isUncounted?: boolean;
}

/** A thing of the catalogue: a meter, product, benefit or webhook endpoint. */
export type Thing = Record<string, unknown> & { readonly id: string };

/** A webhook delivery, signed and ready to be sent. */
export interface Delivery {
  readonly body: string;
  readonly headers: Record<string, string>;
}

const DAY_MS = 86_400_000;

/** What Polar remembers, and what happens there without a request: purchases, failed payments, deliveries. */
export class PolarStore {
  /** The time at Polar. */
  now: () => number = () => Date.now();
  readonly webhookSecret = `whsec_${randomBytes(32).toString('base64')}`;
  readonly customers = new Map<string, StoredCustomer>();
  readonly subscriptions = new Map<string, StoredSubscription>();
  /** By external id, which Polar keeps for ever. */
  readonly events = new Map<string, StoredEvent>();
  readonly checkouts = new Map<string, Thing>();
  readonly things = {
    meters: [] as Thing[],
    products: [] as Thing[],
    benefits: [] as Thing[],
    endpoints: [] as Thing[],
  };
  /** Attempts to deliver. */
  readonly deliveries: {
    succeeded: boolean;
    created_at: string;
    webhook_event: { id: string; created_at: string; is_archived: boolean };
  }[] = [];
  /** The ids of events that are listed and nevertheless gone. */
  readonly forgotten = new Set<string>();
  /** The ids of events that are to be delivered again. */
  readonly redeliveries: string[] = [];
  /** A customer whose events are refused, with their places or without. */
  refused: { customer: string; isNamed: boolean } | undefined;
  /** Tiers of benefits that a customer holds, by his id. */
  readonly grants = new Map<string, string[]>();

  addCustomer(fields: Partial<StoredCustomer> & { email: string }): StoredCustomer {
    const customer = {
      id: randomUUID(),
      external_id: null,
      name: null,
      metadata: {},
      deleted_at: null,
      ...fields,
    };
    this.customers.set(customer.id, customer);
    return customer;
  }

  /** A product whose metadata names the plan that it sells. */
  addProduct(tier: string): Thing {
    const product = { id: randomUUID(), metadata: { tier } };
    this.things.products.push(product);
    return product;
  }

  customerOf(externalId: string): StoredCustomer | undefined {
    return [...this.customers.values()].find(
      (one) => one.external_id === externalId && one.deleted_at === null,
    );
  }

  /** The customer pays: he has a subscription from now on. */
  subscribe(
    externalId: string,
    productId: string,
    fields: Partial<StoredSubscription> = {},
  ): StoredSubscription {
    const customer =
      this.customers.get(fields.customer_id ?? '') ??
      this.customerOf(externalId) ??
      this.addCustomer({ external_id: externalId, email: `${externalId}@example.com` });
    const subscription = {
      id: randomUUID(),
      customer_id: customer.id,
      product_id: productId,
      status: 'active',
      cancel_at_period_end: false,
      current_period_start: new Date(this.now() - DAY_MS).toISOString(),
      current_period_end: new Date(this.now() + 29 * DAY_MS).toISOString(),
      pending_update: null,
      ...fields,
    };
    this.subscriptions.set(subscription.id, subscription);
    return subscription;
  }

  /** The next period begins, with what was to come with it. */
  renew(subscription: StoredSubscription): void {
    const { pending_update: pending, current_period_end: start } = subscription;
    Object.assign(subscription, {
      ...(pending && { product_id: pending.product_id }),
      pending_update: null,
      current_period_start: start,
      current_period_end: new Date(Date.parse(start) + 30 * DAY_MS).toISOString(),
    });
  }

  /** What Polar has counted for a customer: the sum of a numeric property over the events of a name. */
  total(externalId: string, name = 'usage.tokens', property = 'total_tokens'): number {
    let sum = 0;
    for (const event of this.events.values()) {
      if (event.isUncounted || event.external_customer_id !== externalId || event.name !== name) continue;
      const value = event.metadata[property];
      if (typeof value === 'number') sum += value;
    }
    return sum;
  }

  customerBody(customer: StoredCustomer): object {
    return {
      ...customer,
      created_at: '2026-01-01T00:00:00Z',
      modified_at: null,
      type: 'individual',
      email_verified: false,
      billing_name: null,
      billing_address: null,
      tax_id: null,
      organization_id: '11111111-1111-4111-8111-111111111111',
      avatar_url: null,
    };
  }

  subscriptionBody(subscription: StoredSubscription): object {
    const customer = this.customers.get(subscription.customer_id);
    const product = this.things.products.find(({ id }) => id === subscription.product_id);
    return {
      ...subscription,
      created_at: '2026-01-01T00:00:00Z',
      modified_at: null,
      amount: 2900,
      currency: 'usd',
      recurring_interval: 'month',
      metadata: {},
      customer: customer ? this.customerBody(customer) : null,
      product: { id: subscription.product_id, metadata: product?.['metadata'] ?? {} },
      meters: [],
    };
  }

  stateBody(customer: StoredCustomer): object {
    const active = [...this.subscriptions.values()].filter(
      ({ customer_id, status }) => customer_id === customer.id && ['active', 'trialing'].includes(status),
    );
    return {
      ...this.customerBody(customer),
      // Not what is pending: a state does not tell it.
      active_subscriptions: active.map(({ customer_id, ...rest }) => ({
        ...rest,
        pending_update: undefined,
        metadata: { of: customer_id },
      })),
      granted_benefits: (this.grants.get(customer.id) ?? []).map((tier) => ({
        id: randomUUID(),
        benefit_id: randomUUID(),
        benefit_type: 'feature_flag',
        benefit_metadata: { tier },
        properties: {},
      })),
      active_meters: [],
    };
  }

  /** A delivery as Polar makes it; `atUs` is when it happened, in microseconds. */
  deliver(
    type: string,
    data: object,
    { atUs = this.now() * 1_000, id = `evt_${randomUUID()}` } = {},
  ): Delivery {
    const body = JSON.stringify({ type, timestamp: microsecondText(atUs), api_version: '2026-10', data });
    return { body, headers: this.sign(id, body) };
  }

  /** Signs as Polar does with secrets of today: the key is what the secret encodes. */
  sign(id: string, body: string, atMs = this.now(), key = this.keys().decoded): Record<string, string> {
    const timestamp = String(Math.floor(atMs / 1_000));
    const digest = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
    return {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${digest}`,
    };
  }

  /** The two keys that one secret stands for, by the age of its endpoint. */
  keys(): { decoded: Buffer; whole: Buffer } {
    const encoded = this.webhookSecret.slice('whsec_'.length);
    return { decoded: Buffer.from(encoded, 'base64'), whole: Buffer.from(this.webhookSecret) };
  }
}

function microsecondText(us: number): string {
  const seconds = new Date(Math.floor(us / 1_000_000) * 1_000).toISOString().slice(0, 19);
  return `${seconds}.${String(Math.floor(us % 1_000_000)).padStart(6, '0')}Z`;
}
