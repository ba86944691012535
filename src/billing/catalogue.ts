import { Inject, Injectable } from '@nestjs/common';
import type { Tier } from '../common/principal';
import { ENV, type Env } from '../config/env';
import type { SubscriptionFacts } from './entitlement';
import type { PolarCustomerState, PolarSubscription } from './polar-schemas';

/** The plans that are sold, lowest first. */
export const soldTiers = ['starter', 'professional', 'enterprise'] as const;
export type SoldTier = (typeof soldTiers)[number];

/** The metadata of a product or benefit of Polar's that names a plan of ours. */
export const TIER_METADATA = 'tier';

/** Which product of Polar's sells which plan. */
@Injectable()
export class Catalogue {
  private readonly products: Readonly<Record<SoldTier, string | undefined>>;

  constructor(@Inject(ENV) env: Env) {
    this.products = {
      starter: env.POLAR_PRODUCT_STARTER,
      professional: env.POLAR_PRODUCT_PROFESSIONAL,
      enterprise: env.POLAR_PRODUCT_ENTERPRISE,
    };
  }

  /** The product that sells a plan, or null when it is not for sale. */
  productOf(tier: Tier): string | null {
    return this.products[tier as SoldTier] ?? null;
  }

  /** The plan that a product of Polar's sells, or null when it sells none of ours. */
  tierOf(productId: string | null): SoldTier | null {
    return soldTiers.find((tier) => this.products[tier] === productId) ?? null;
  }

  factsOf(
    subscription: PolarSubscription | PolarCustomerState['active_subscriptions'][number],
  ): SubscriptionFacts {
    const { id, status, product_id: productId, cancel_at_period_end: cancelAtPeriodEnd } = subscription;
    const metadata = 'product' in subscription ? subscription.product?.metadata : undefined;
    return {
      id,
      status,
      productId,
      tier: this.tierOf(productId) ?? tierIn(metadata),
      cancelAtPeriodEnd,
      periodStart: subscription.current_period_start ?? null,
      periodEnd: subscription.current_period_end ?? null,
      pendingProductId: ('pending_update' in subscription && subscription.pending_update?.product_id) || null,
    };
  }

  /** The tiers of a customer's granted benefits. */
  grantedTiers({ granted_benefits: benefits }: PolarCustomerState): Tier[] {
    return benefits
      .filter(({ benefit_type: type }) => type === 'feature_flag')
      .flatMap(({ benefit_metadata: metadata }) => tierIn(metadata) ?? []);
  }
}

/** Only plans that are sold: whoever can write a product's metadata must not hand out `internal`. */
function tierIn(metadata: Record<string, unknown> | null | undefined): SoldTier | null {
  return soldTiers.find((tier) => tier === metadata?.[TIER_METADATA]) ?? null;
}
