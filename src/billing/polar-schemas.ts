import { z } from 'zod';

/*
 * The parts of Polar's answers and webhook deliveries that are read here. The SDK checks neither, so what does not fit
 * is found here and not three calls later. Fields that are not named are let through and dropped.
 */

const timestamp = z.string().refine((text) => !Number.isNaN(Date.parse(text)), 'must be a date and time');
const metadata = z.record(z.string(), z.unknown()).nullish();

export const customerSchema = z.object({
  id: z.string().min(1),
  external_id: z.string().nullish(),
  email: z.string().nullish(),
  deleted_at: timestamp.nullish(),
});
export type PolarCustomer = z.infer<typeof customerSchema>;

/** A change that is to come with the next period; without a product, of something else than that. */
const pendingUpdateSchema = z.object({ product_id: z.string().nullish() });

export const subscriptionSchema = z.object({
  id: z.string().min(1),
  status: z.string(),
  product_id: z.string(),
  customer_id: z.string(),
  cancel_at_period_end: z.boolean(),
  current_period_start: timestamp.nullish(),
  current_period_end: timestamp.nullish(),
  customer: customerSchema.nullish(),
  product: z.object({ metadata }).nullish(),
  pending_update: pendingUpdateSchema.nullish(),
});
export type PolarSubscription = z.infer<typeof subscriptionSchema>;

export const customerStateSchema = customerSchema.extend({
  active_subscriptions: z.array(
    subscriptionSchema.omit({ customer_id: true, customer: true, product: true, pending_update: true }),
  ),
  granted_benefits: z.array(z.object({ benefit_type: z.string(), benefit_metadata: metadata })),
});
export type PolarCustomerState = z.infer<typeof customerStateSchema>;

/** What became of a checkout: `open`, `expired`, `confirmed`, `succeeded`, `failed`. */
export const checkoutStatusSchema = z.object({ status: z.string() });

export const checkoutSchema = checkoutStatusSchema.extend({
  id: z.string().min(1),
  url: z.string().min(1),
  expires_at: timestamp,
});
export type PolarCheckout = z.infer<typeof checkoutSchema>;

export const portalSessionSchema = z.object({
  customer_portal_url: z.string().min(1),
  expires_at: timestamp,
});
export type PolarPortalSession = z.infer<typeof portalSessionSchema>;

export const ingestedSchema = z.object({ inserted: z.int().min(0), duplicates: z.int().min(0).default(0) });
export type PolarIngested = z.infer<typeof ingestedSchema>;

export const quantitiesSchema = z.object({ total: z.number() });

export const endpointSchema = z.object({
  id: z.string(),
  url: z.string(),
  enabled: z.boolean(),
  secret: z.string(),
});
export type PolarEndpoint = z.infer<typeof endpointSchema>;

/** One attempt to deliver, as far as it tells of what. */
export const deliverySchema = z.object({
  webhook_event: z.object({ id: z.string(), created_at: timestamp, is_archived: z.boolean() }),
});
export type PolarWebhookEvent = z.infer<typeof deliverySchema>['webhook_event'];

/** Any list: its entries, and how many pages of them there are. */
export const listSchema = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), pagination: z.object({ max_page: z.int() }) });

/** The envelope of every webhook delivery; `data` is checked by whoever applies it. */
export const envelopeSchema = z.object({
  type: z.string().regex(/^[a-z0-9_.]{1,100}$/i),
  timestamp,
  api_version: z.string().nullish(),
  data: z.unknown(),
});
export type PolarEnvelope = z.infer<typeof envelopeSchema>;

/** As Polar's ids are, and fit for an index: what else may stand there is not to be told apart. */
const idText = z.string().regex(/^[\x20-\x7e]{1,200}$/);

/** What tells whom any object of a delivery is about: the customer's own, or one that names its customer. */
export const aboutCustomerSchema = z.object({
  id: idText.optional(),
  external_id: idText.nullish(),
  customer_id: idText.nullish(),
  external_customer_id: idText.nullish(),
  customer: z.object({ id: idText.optional(), external_id: idText.nullish() }).nullish(),
});
