import { z } from 'zod';
import type { Env } from '../config/env';
import { formatUsd } from '../common/money';
import { plans, TOKEN_BEYOND_NANO_USD } from '../users/plans';
import { type SoldTier, soldTiers, TIER_METADATA } from './catalogue';
import type { PolarClient } from './polar-client';
import { endpointSchema, listSchema } from './polar-schemas';
import { webhookUrl } from './reconciler';
import { meters } from './usage-reporter';

const PAGE = 100;
const UNITS_MAX = 2_147_483_647;
const API_VERSION = '2026-10';
const CENTS_PER_USD = 100;

/** The kinds of deliveries that the service has a use for. */
const EVENTS = [
  'checkout.created',
  'checkout.updated',
  'customer.created',
  'customer.updated',
  'customer.deleted',
  'customer.state_changed',
  'order.created',
  'order.updated',
  'order.paid',
  'order.refunded',
  'subscription.created',
  'subscription.updated',
  'subscription.active',
  'subscription.canceled',
  'subscription.uncanceled',
  'subscription.cycled',
  'subscription.past_due',
  'subscription.paused',
  'subscription.resumed',
  'subscription.revoked',
  'refund.created',
  'refund.updated',
  'benefit_grant.created',
  'benefit_grant.updated',
  'benefit_grant.cycled',
  'benefit_grant.revoked',
] as const;

const idSchema = z.object({ id: z.string() });
const taggedSchema = idSchema.extend({
  name: z.string().nullish(),
  type: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  /** Of a product. */
  benefits: z.array(idSchema).default([]),
});
type Tagged = z.infer<typeof taggedSchema>;

/** What there is at Polar now: the settings to copy, and what was made just now. */
export interface SetUp {
  readonly made: readonly string[];
  readonly products: Readonly<Record<SoldTier, string>>;
  readonly webhookSecret: string;
}

/**
 * Makes at Polar what the service needs and does not find there: the meters, a product for each plan that is sold with
 * its price, its included tokens and the flag that says which plan it is, and the webhook endpoint, which it also
 * switches on. Run again, it finds everything. Prices that were changed at Polar are left alone.
 * @throws Error of the SDK: an operator reads it.
 */
export class PolarSetup {
  private readonly made: string[] = [];

  constructor(
    private readonly polar: PolarClient,
    private readonly env: Pick<Env, 'PUBLIC_URL'>,
  ) {}

  async run(): Promise<SetUp> {
    const meterId = await this.meter();
    const products: Partial<Record<SoldTier, string>> = {};
    for (const tier of soldTiers) products[tier] = await this.product(tier, meterId);
    const webhookSecret = await this.endpoint();
    return { made: this.made, products: products as Record<SoldTier, string>, webhookSecret };
  }

  private async meter(): Promise<string> {
    const { eventName = '', property = '' } = meters['tokens'] ?? {};
    const found = await this.polar.findMeter(eventName);
    if (found) return found;
    const meter = await this.polar.api.meters.create({
      name: eventName,
      unit: 'token',
      filter: { conjunction: 'and', clauses: [{ property: 'name', operator: 'eq', value: eventName }] },
      aggregation: { func: 'sum', property },
    });
    this.made.push(`meter ${eventName}`);
    return idSchema.parse(meter).id;
  }

  /** A recurring product whose metadata names the plan; what an operator has added to it stays. */
  private async product(tier: SoldTier, meterId: string): Promise<string> {
    const plan = plans[tier];
    const isOfTier = ({ metadata }: Tagged): boolean => metadata?.[TIER_METADATA] === tier;
    const { api } = this.polar;
    const found = (await this.all((query) => api.products.list({ ...query, is_archived: false }))).find(
      isOfTier,
    );
    let id = found?.id;
    if (!id) {
      const product = await api.products.create({
        name: plan.name,
        recurring_interval: 'month',
        prices: [
          {
            amount_type: 'fixed',
            price_currency: 'usd',
            price_amount: plan.priceUsdPerMonth * CENTS_PER_USD,
          },
          {
            amount_type: 'metered_unit',
            price_currency: 'usd',
            meter_id: meterId,
            unit_amount: unitCents(TOKEN_BEYOND_NANO_USD),
          },
        ],
        metadata: { [TIER_METADATA]: tier },
      });
      id = idSchema.parse(product).id;
      this.made.push(`product ${plan.name}`);
    }
    const benefits = (await this.all((query) => api.benefits.list(query))).filter(isOfTier);
    const flag = benefits.find(({ type }) => type === 'feature_flag')?.id ?? (await this.flag(tier));
    const credit =
      benefits.find(({ type }) => type === 'meter_credit')?.id ?? (await this.credit(tier, meterId));
    const attached = found?.benefits.map((benefit) => benefit.id) ?? [];
    const wanted = [...new Set([...attached, flag, credit])];
    if (wanted.length > attached.length) await api.products.updateBenefits(id, { benefits: wanted });
    return id;
  }

  private async flag(tier: SoldTier): Promise<string> {
    const benefit = await this.polar.api.benefits.create({
      type: 'feature_flag',
      description: `Plan ${plans[tier].name}`,
      properties: {},
      metadata: { [TIER_METADATA]: tier },
    });
    this.made.push(`benefit that grants the plan ${plans[tier].name}`);
    return idSchema.parse(benefit).id;
  }

  private async credit(tier: SoldTier, meterId: string): Promise<string> {
    const units = Math.min(plans[tier].tokensIncludedPerMonth, UNITS_MAX);
    const benefit = await this.polar.api.benefits.create({
      type: 'meter_credit',
      description: `${units.toLocaleString('en-US')} tokens a month`,
      properties: { meter_id: meterId, units, rollover: false },
      metadata: { [TIER_METADATA]: tier },
    });
    this.made.push(`benefit of ${units} tokens`);
    return idSchema.parse(benefit).id;
  }

  private async endpoint(): Promise<string> {
    const url = webhookUrl(this.env);
    const events = [...EVENTS];
    const found = (await this.polar.webhookEndpoints()).find((endpoint) => endpoint.url === url);
    const { webhooks } = this.polar.api;
    if (found) {
      if (!found.enabled) this.made.push('webhook endpoint, switched on again');
      const changes = { enabled: true, events, api_version: API_VERSION } as const;
      return endpointSchema.parse(await webhooks.updateWebhookEndpoint(found.id, changes)).secret;
    }
    const fields = { url, events, format: 'raw', api_version: API_VERSION, name: 'Cortex Auth' } as const;
    const endpoint = endpointSchema.parse(await webhooks.createWebhookEndpoint(fields));
    this.made.push('webhook endpoint');
    return endpoint.secret;
  }

  private async all(list: (query: { page: number; limit: number }) => Promise<unknown>): Promise<Tagged[]> {
    const found: Tagged[] = [];
    for (let page = 1, pages = 1; page <= pages; page++) {
      const { items, pagination } = listSchema(taggedSchema).parse(await list({ page, limit: PAGE }));
      found.push(...items);
      pages = pagination.max_page;
    }
    return found;
  }
}

/** Cents as Polar wants them: a decimal text without zeros behind, as in `0.01`. */
function unitCents(nanoUsd: bigint): string {
  return formatUsd(nanoUsd * BigInt(CENTS_PER_USD)).replace(/\.?0+$/, '');
}
