import { defineError } from '../common/api-error';

export const BillingErrors = {
  notConfigured: defineError({
    code: 'billing_not_configured',
    status: 503,
    title: 'Billing is off',
    detail: 'This service has no billing provider configured, so nothing can be bought or changed here.',
  }),
  unavailable: defineError({
    code: 'billing_unavailable',
    status: 503,
    title: 'Billing provider unavailable',
    detail: 'The billing provider does not answer as it should. Nothing was lost; try again shortly.',
  }),
  outcomeUnknown: defineError({
    code: 'billing_outcome_unknown',
    status: 503,
    title: 'Unknown whether it was done',
    detail:
      'The billing provider did not say whether it changed the subscription. Look at GET /api/v1/auth/billing/info in a minute, before you try again.',
  }),
  refused: defineError({
    code: 'billing_refused',
    status: 409,
    title: 'Refused by the billing provider',
    detail:
      'The billing provider refused this, as it does for an unpaid invoice or a subscription that is changing already. Look into the customer portal.',
  }),
  notForSale: defineError({
    code: 'plan_not_for_sale',
    status: 400,
    title: 'Plan not for sale',
    sample: ['enterprise'],
    detail: (tier: string) =>
      `The plan "${tier}" cannot be bought here. GET /api/v1/auth/billing/plans lists those that can.`,
  }),
  badReturnUrl: defineError({
    code: 'invalid_return_url',
    status: 400,
    title: 'Return address not allowed',
    detail: 'The "return_url" must be an address of this service or of an origin it allows.',
  }),
  subscriptionExists: defineError({
    code: 'subscription_exists',
    status: 409,
    title: 'Already subscribed',
    detail:
      'There is a subscription already. Change it with POST /api/v1/auth/billing/subscription/change instead of buying a second one.',
  }),
  noSubscription: defineError({
    code: 'no_subscription',
    status: 409,
    title: 'No subscription',
    detail: 'There is no subscription to change. Buy a plan first.',
  }),
  subscriptionEnds: defineError({
    code: 'subscription_ends',
    status: 409,
    title: 'Subscription is to end',
    detail:
      'The subscription ends with its period. Resume it first with POST /api/v1/auth/billing/subscription/resume, then change the plan.',
  }),
  checkoutBusy: defineError({
    code: 'checkout_in_progress',
    status: 409,
    title: 'Checkout is being made',
    detail: 'Another request is making this checkout right now. Ask again shortly to get it.',
  }),
  noCustomer: defineError({
    code: 'no_billing_customer',
    status: 409,
    title: 'No customer yet',
    detail:
      'The billing provider does not know this account yet. Try again in a minute; if it stays, verify your e-mail address.',
  }),
  badSignature: defineError({
    code: 'invalid_webhook_signature',
    status: 403,
    title: 'Invalid webhook signature',
    detail: 'The delivery is not signed with the secret of this endpoint, or too long ago.',
  }),
};
