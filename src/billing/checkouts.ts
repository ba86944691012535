import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { BillingErrors } from './billing.errors';
import { PolarCheckoutRow } from './polar-checkout.entity';
import { type CheckoutInput, PolarClient } from './polar-client';

/** Longer than a request to Polar may take. */
const CLAIM_MS = 30_000;
/** A checkout that ends sooner is not handed out again. */
const REST_MIN_MS = 60_000;

const CLAIM_SQL = `
  INSERT INTO polar_checkouts (user_id, product_id, url, return_url, expires_at) VALUES ($1, $2, NULL, $5, $4)
  ON CONFLICT (user_id, product_id) DO UPDATE SET url = NULL, return_url = $5, expires_at = $4
  WHERE polar_checkouts.expires_at <= $3
     OR (polar_checkouts.url IS NOT NULL AND polar_checkouts.return_url IS DISTINCT FROM $5)
  RETURNING user_id`;

/** A page of Polar's for a customer, and when it ends. */
export interface PolarPage {
  readonly url: string;
  readonly expiresAt: Date;
}

/**
 * The open checkouts: one per user and product, however many requests ask at once; another one when it is to lead back
 * to another place. No transaction waits for Polar.
 */
@Injectable()
export class Checkouts {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly polar: PolarClient,
  ) {}

  /** @throws PolarFailure; ApiError `checkout_in_progress` while another request makes the same one. */
  async open(productId: string, input: CheckoutInput): Promise<PolarPage> {
    const key = { userId: input.userId, productId };
    const now = this.clock.nowMs();
    const claim = [new Date(now + REST_MIN_MS), new Date(now + REST_MIN_MS + CLAIM_MS)];
    const claimed = await this.db.query<unknown[]>(CLAIM_SQL, [
      input.userId,
      productId,
      ...claim,
      input.returnUrl,
    ]);
    if (claimed.length === 0) return this.opened(key);
    try {
      const { url, expires_at: expires } = await this.polar.create_subscription(productId, input);
      const expiresAt = new Date(expires);
      await this.db.update(PolarCheckoutRow, key, { url, expiresAt });
      return { url, expiresAt };
    } catch (error) {
      await this.db.delete(PolarCheckoutRow, key);
      throw error;
    }
  }

  private async opened(key: { userId: string; productId: string }): Promise<PolarPage> {
    const row = await this.db.findOneBy(PolarCheckoutRow, key);
    if (!row?.url) throw BillingErrors.checkoutBusy.with({ retryAfterSeconds: 1 });
    return { url: row.url, expiresAt: row.expiresAt };
  }
}
