import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { ENV, type Env } from '../config/env';
import { BillingErrors } from './billing.errors';
import { PolarFailure, toPolarFailure } from './polar-failure';
import {
  checkoutSchema,
  customerSchema,
  customerStateSchema,
  deliverySchema,
  endpointSchema,
  ingestedSchema,
  listSchema,
  type PolarCheckout,
  type PolarCustomer,
  type PolarCustomerState,
  type PolarEndpoint,
  type PolarIngested,
  type PolarPortalSession,
  type PolarSubscription,
  type PolarWebhookEvent,
  portalSessionSchema,
  quantitiesSchema,
  subscriptionSchema,
} from './polar-schemas';
import { createServices } from './polar-services';

const PAGE = 100;

/** A customer as Polar is to know him. `userId` becomes his `external_id` there. */
export interface NewPolarCustomer {
  readonly userId: string;
  readonly email: string;
  readonly name: string | null;
}

/** An amount of a meter, to be charged to a customer by the price of his subscription. */
export interface UsageCharge {
  /** Polar counts each of these once, for ever, however often it is sent. */
  readonly externalId: string;
  readonly userId: string;
  /** As in `usage.tokens`. */
  readonly name: string;
  /** The numeric property that the meter sums, and its amount. */
  readonly property: string;
  readonly amount: number;
  readonly occurredAt: Date;
}

/** What of a subscription is to be another. */
export type SubscriptionChange =
  | { readonly product_id: string; readonly proration_behavior: 'invoice' | 'next_period' }
  | { readonly cancel_at_period_end: boolean }
  /** Takes back what was to come with the next period. */
  | { readonly pending_update: null };

/** Where a customer goes on after paying. */
export interface CheckoutInput {
  readonly userId: string;
  /** Fills the page in; null for a customer whom Polar knows, whose address there may be another. */
  readonly email: string | null;
  readonly successUrl: string;
  readonly returnUrl: string;
}

/**
 * Polar's API, as far as it is used here; sends each request once. Every method throws {@link PolarFailure}, and
 * ApiError `billing_not_configured` without `POLAR_API_KEY`.
 */
@Injectable()
export class PolarClient {
  /** Undefined without `POLAR_API_KEY`. */
  private readonly services: ReturnType<typeof createServices> | undefined;

  constructor(@Inject(ENV) env: Env) {
    if (env.POLAR_API_KEY) this.services = createServices(env.POLAR_API_KEY, env.POLAR_SERVER);
  }

  get isConfigured(): boolean {
    return this.services !== undefined;
  }

  /** For setting Polar up, which needs more of it than the service does. */
  get api(): ReturnType<typeof createServices> {
    if (!this.services) throw BillingErrors.notConfigured();
    return this.services;
  }

  /** @throws PolarFailure `refused` when there is a customer with this address or user id. */
  async create_customer({ userId, email, name }: NewPolarCustomer): Promise<PolarCustomer> {
    const body = { type: 'individual' as const, email, ...(name !== null && { name }), external_id: userId };
    return this.read(customerSchema, () => this.api.customers.create(body));
  }

  /** The customer of a user; @throws PolarFailure `not_found`. */
  async get_customer(userId: string): Promise<PolarCustomer> {
    return this.read(customerSchema, () => this.api.customers.getExternal(userId));
  }

  /**
   * Begins the purchase of a product: a paid subscription is made by its customer alone, at the checkout's `url`.
   * What he may do changes when a webhook or the customer's state says so, never by this.
   */
  async create_subscription(productId: string, checkout: CheckoutInput): Promise<PolarCheckout> {
    const body = {
      products: [productId],
      external_customer_id: checkout.userId,
      ...(checkout.email !== null && { customer_email: checkout.email }),
      success_url: checkout.successUrl,
      return_url: checkout.returnUrl,
      metadata: { user_id: checkout.userId },
    };
    return this.read(checkoutSchema, () => this.api.checkouts.create(body));
  }

  /**
   * Charges usage: amounts of meters, not money, which Polar prices. All of them are taken or none.
   * @returns how many were new, and how many Polar had counted before.
   */
  async create_usage_charge(charges: readonly UsageCharge[]): Promise<PolarIngested> {
    const events = charges.map(({ externalId, userId, name, property, amount, occurredAt }) => ({
      name,
      external_customer_id: userId,
      external_id: externalId,
      timestamp: occurredAt.toISOString(),
      metadata: { [property]: amount },
    }));
    return this.read(ingestedSchema, () => this.api.events.ingest({ events }));
  }

  /** What a user has: his active subscriptions and granted benefits; null when Polar does not know him. */
  async getState(userId: string): Promise<PolarCustomerState | null> {
    return this.orNull(customerStateSchema, () => this.api.customers.getStateExternal(userId));
  }

  async findCustomersByEmail(email: string): Promise<PolarCustomer[]> {
    return (
      await this.read(listSchema(customerSchema), () => this.api.customers.list({ email, limit: PAGE }))
    ).items;
  }

  /** Says whose customer it is; possible once. */
  async linkCustomer(customerId: string, userId: string): Promise<void> {
    await this.read(customerSchema, () => this.api.customers.update(customerId, { external_id: userId }));
  }

  /** @throws PolarFailure `refused` when another customer has the address. */
  async changeAddress(customerId: string, email: string): Promise<void> {
    await this.read(customerSchema, () => this.api.customers.update(customerId, { email }));
  }

  /** Takes a person out of Polar; what he paid stays, without his name. Nothing to do when he is not there. */
  async anonymizeCustomer(userId: string): Promise<void> {
    await this.orNull(z.unknown(), () => this.api.customers.deleteExternal(userId, { anonymize: true }));
  }

  async getSubscription(id: string): Promise<PolarSubscription> {
    return this.read(subscriptionSchema, () => this.api.subscriptions.get(id));
  }

  async changeSubscription(id: string, change: SubscriptionChange): Promise<PolarSubscription> {
    return this.read(subscriptionSchema, () => this.api.subscriptions.update(id, change));
  }

  /** Every subscription that gives something, a page at a time. */
  async *activeSubscriptions(): AsyncGenerator<PolarSubscription[]> {
    const list = listSchema(subscriptionSchema);
    for (let page = 1, pages = 1; page <= pages; page++) {
      const query = { active: true, page, limit: PAGE, sorting: ['started_at' as const] };
      const { items, pagination } = await this.read(list, () => this.api.subscriptions.list(query));
      pages = pagination.max_page;
      yield items;
    }
  }

  /** A page, made for one click, on which a customer sees his invoices and changes how he pays. */
  async openPortal(userId: string, returnUrl: string): Promise<PolarPortalSession> {
    const body = { external_customer_id: userId, return_url: returnUrl };
    return this.read(portalSessionSchema, () => this.api.customerSessions.create(body));
  }

  /** All that Polar has counted of a meter for a user between two moments. */
  async meterTotal(meterId: string, userId: string, from: Date, to: Date): Promise<number> {
    const query = {
      external_customer_id: userId,
      start_timestamp: from.toISOString(),
      end_timestamp: to.toISOString(),
      interval: 'year' as const,
    };
    return (await this.read(quantitiesSchema, () => this.api.meters.quantities(meterId, query))).total;
  }

  /** The id of the meter of a name, or null when it has not been made. */
  async findMeter(name: string): Promise<string | null> {
    const schema = listSchema(z.object({ id: z.string(), name: z.string() }));
    const { items } = await this.read(schema, () => this.api.meters.list({ query: name, limit: PAGE }));
    return items.find((meter) => meter.name === name)?.id ?? null;
  }

  async webhookEndpoints(): Promise<PolarEndpoint[]> {
    const query = { limit: PAGE };
    return (await this.read(listSchema(endpointSchema), () => this.api.webhooks.listWebhookEndpoints(query)))
      .items;
  }

  /** What an endpoint did not take since a moment, a page at a time; an event stands there once for each attempt. */
  async *failedWebhookEvents(endpointId: string, since: Date): AsyncGenerator<PolarWebhookEvent[]> {
    const list = listSchema(deliverySchema);
    const failed = { endpoint_id: endpointId, start_timestamp: since.toISOString(), succeeded: false };
    for (let page = 1, pages = 1; page <= pages; page++) {
      const query = { ...failed, page, limit: PAGE };
      const { items, pagination } = await this.read(list, () =>
        this.api.webhooks.listWebhookDeliveries(query),
      );
      pages = pagination.max_page;
      yield items.map(({ webhook_event: event }) => event);
    }
  }

  /** Has an event delivered again, soon. */
  async redeliverWebhookEvent(id: string): Promise<void> {
    await this.read(z.unknown(), () => this.api.webhooks.redeliverWebhookEvent(id));
  }

  private async read<T>(schema: z.ZodType<T>, call: () => Promise<unknown>): Promise<T> {
    if (!this.services) throw BillingErrors.notConfigured();
    try {
      return schema.parse(await call());
    } catch (error) {
      throw toPolarFailure(error);
    }
  }

  private async orNull<T>(schema: z.ZodType<T>, call: () => Promise<unknown>): Promise<T | null> {
    try {
      return await this.read(schema, call);
    } catch (error) {
      if (error instanceof PolarFailure && error.kind === 'not_found') return null;
      throw error;
    }
  }
}
