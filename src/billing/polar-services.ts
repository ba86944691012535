import { createPolarCore } from '@polar-sh/sdk/2026-10';
import { createCheckoutsService } from '@polar-sh/sdk/2026-10/services/checkouts';
import { createCustomerSessionsService } from '@polar-sh/sdk/2026-10/services/customer_sessions';
import { createCustomersService } from '@polar-sh/sdk/2026-10/services/customers';
import { createEventsService } from '@polar-sh/sdk/2026-10/services/events';
import { createMetersService } from '@polar-sh/sdk/2026-10/services/meters';
import { createProductsService } from '@polar-sh/sdk/2026-10/services/products';
import { createSubscriptionsService } from '@polar-sh/sdk/2026-10/services/subscriptions';
import { createWebhooksService } from '@polar-sh/sdk/2026-10/services/webhooks';
import { createBenefitsService } from '@polar-sh/sdk/2026-10/services/benefits';

const TIMEOUT_SECONDS = 10;

/** The services of Polar's SDK that are used here. @param server `production`, `sandbox`, or a base URL. */
export function createServices(accessToken: string, server: string) {
  const isNamed = server === 'production' || server === 'sandbox';
  const core = createPolarCore({
    accessToken,
    timeout: TIMEOUT_SECONDS,
    ...(isNamed ? { environment: server } : { baseUrl: server.replace(/\/+$/, '') }),
  });
  // A redirect would carry the access token to wherever it leads.
  const build = core.buildRequest.bind(core);
  core.buildRequest = (...request) => {
    const [url, init] = build(...request);
    return [url, { ...init, redirect: 'error' }];
  };
  return {
    benefits: createBenefitsService(core),
    checkouts: createCheckoutsService(core),
    customerSessions: createCustomerSessionsService(core),
    customers: createCustomersService(core),
    events: createEventsService(core),
    meters: createMetersService(core),
    products: createProductsService(core),
    subscriptions: createSubscriptionsService(core),
    webhooks: createWebhooksService(core),
  };
}
