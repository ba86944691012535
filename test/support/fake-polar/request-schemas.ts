/**
 * What Polar takes, as JSON Schemas cut by hand from the types of `@polar-sh/sdk/2026-10` and closed: a field that is
 * misspelled, misplaced or of another type is found here, where the real one might drop it without a word.
 */

const uuid = { type: 'string', format: 'uuid' };
const dateTime = { type: 'string', format: 'date-time' };
const url = { type: 'string', format: 'uri', maxLength: 2083 };
/** At most 50 keys of at most 40 characters; no null, no empty text and nothing nested. */
const metadata = {
  type: 'object',
  maxProperties: 50,
  propertyNames: { maxLength: 40 },
  additionalProperties: {
    anyOf: [{ type: 'string', minLength: 1, maxLength: 500 }, { type: 'number' }, { type: 'boolean' }],
  },
};

const closed = (properties: object, required: readonly string[] = []): object => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});

const filterClause = closed(
  {
    property: { type: 'string' },
    operator: { enum: ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'like', 'not_like'] },
    value: { type: ['string', 'integer', 'boolean'] },
  },
  ['property', 'operator', 'value'],
);

const fixedPrice = closed(
  {
    amount_type: { const: 'fixed' },
    price_currency: { const: 'usd' },
    price_amount: { type: 'integer', minimum: 0 },
  },
  ['amount_type', 'price_amount'],
);
const meteredPrice = closed(
  {
    amount_type: { const: 'metered_unit' },
    price_currency: { const: 'usd' },
    meter_id: uuid,
    unit_amount: { type: 'string', pattern: '^\\d+(\\.\\d{1,12})?$' },
    cap_amount: { type: ['integer', 'null'] },
  },
  ['amount_type', 'meter_id', 'unit_amount'],
);

/** By method and path, with `{}` for what stands in a path. */
export const requestSchemas: Readonly<Record<string, object>> = {
  'POST /v1/customers/': closed(
    {
      type: { const: 'individual' },
      email: { type: 'string', format: 'email' },
      name: { type: ['string', 'null'], maxLength: 256 },
      external_id: { type: ['string', 'null'], minLength: 1 },
      metadata,
    },
    ['email'],
  ),
  'PATCH /v1/customers/{}': closed({
    external_id: { type: 'string', minLength: 1 },
    email: { type: 'string', format: 'email' },
    metadata,
  }),
  'POST /v1/checkouts/': closed(
    {
      products: { type: 'array', items: uuid, minItems: 1 },
      external_customer_id: { type: 'string', minLength: 1 },
      customer_email: { type: 'string', format: 'email' },
      success_url: { type: 'string', pattern: '^https?://', maxLength: 2083 },
      return_url: url,
      metadata,
    },
    ['products'],
  ),
  'PATCH /v1/subscriptions/{}': {
    oneOf: [
      closed(
        { product_id: uuid, proration_behavior: { enum: ['invoice', 'prorate', 'next_period', 'reset'] } },
        ['product_id'],
      ),
      closed({ cancel_at_period_end: { type: 'boolean' } }, ['cancel_at_period_end']),
      closed({ pending_update: { type: 'null' } }, ['pending_update']),
    ],
  },
  'POST /v1/customer-sessions/': closed(
    { external_customer_id: { type: 'string', minLength: 1 }, return_url: url },
    ['external_customer_id'],
  ),
  'POST /v1/events/ingest': closed(
    {
      events: {
        type: 'array',
        minItems: 1,
        items: closed(
          {
            name: { type: 'string', minLength: 1, maxLength: 128 },
            external_customer_id: { type: 'string', minLength: 1 },
            external_id: { type: 'string', minLength: 1 },
            timestamp: dateTime,
            metadata,
          },
          ['name', 'external_customer_id', 'external_id', 'timestamp', 'metadata'],
        ),
      },
    },
    ['events'],
  ),
  'POST /v1/meters/': closed(
    {
      name: { type: 'string', minLength: 3 },
      unit: { enum: ['scalar', 'token', 'custom'] },
      filter: closed(
        { conjunction: { enum: ['and', 'or'] }, clauses: { type: 'array', items: filterClause } },
        ['conjunction', 'clauses'],
      ),
      aggregation: closed({ func: { const: 'sum' }, property: { type: 'string' } }, ['func', 'property']),
      metadata,
    },
    ['name', 'filter', 'aggregation'],
  ),
  'POST /v1/products/': closed(
    {
      name: { type: 'string', minLength: 3, maxLength: 64 },
      description: { type: 'string' },
      recurring_interval: { enum: ['day', 'week', 'month', 'year'] },
      prices: { type: 'array', minItems: 1, items: { oneOf: [fixedPrice, meteredPrice] } },
      metadata,
    },
    ['name', 'recurring_interval', 'prices'],
  ),
  'POST /v1/products/{}/benefits': closed({ benefits: { type: 'array', items: uuid } }, ['benefits']),
  'POST /v1/benefits/': {
    oneOf: [
      closed(
        {
          type: { const: 'feature_flag' },
          description: { type: 'string', minLength: 3, maxLength: 42 },
          properties: closed({}),
          metadata,
        },
        ['type', 'description', 'properties'],
      ),
      closed(
        {
          type: { const: 'meter_credit' },
          description: { type: 'string', minLength: 3, maxLength: 42 },
          properties: closed(
            {
              meter_id: uuid,
              units: { type: 'integer', minimum: 1, maximum: 2_147_483_647 },
              rollover: { type: 'boolean' },
            },
            ['meter_id', 'units', 'rollover'],
          ),
          metadata,
        },
        ['type', 'description', 'properties'],
      ),
    ],
  },
  'POST /v1/webhooks/endpoints': closed(
    {
      url,
      name: { type: 'string' },
      format: { const: 'raw' },
      api_version: { const: '2026-10' },
      events: { type: 'array', minItems: 1, items: { type: 'string' } },
    },
    ['url', 'format', 'events'],
  ),
  'PATCH /v1/webhooks/endpoints/{}': closed({
    url,
    enabled: { type: 'boolean' },
    events: { type: 'array', items: { type: 'string' } },
    api_version: { const: '2026-10' },
  }),
};
