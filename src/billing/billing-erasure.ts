import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Jobs } from '../platform/jobs/jobs';
import { BillingAccount } from './billing-account.entity';
import { BillingEvent } from './billing-event.entity';
import { PolarCheckoutRow } from './polar-checkout.entity';
import { PolarClient } from './polar-client';

const JOB = 'billing-erasure';

/** Takes a person out of billing. */
@Injectable()
export class BillingErasure implements OnModuleInit {
  constructor(
    private readonly jobs: Jobs,
    private readonly polar: PolarClient,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ userId: string }>(JOB, async ({ userId }) => {
      if (this.polar.isConfigured) await this.polar.anonymizeCustomer(userId);
    });
  }

  /**
   * Forgets what Polar said of a person, and has Polar forget him once `tx` has committed: that ends his subscription
   * and blacks out his name there. What was billed stays, here and there.
   */
  async erase(userId: string, tx: EntityManager): Promise<void> {
    await tx.update(BillingEvent, { userId }, { payload: null });
    await tx.delete(PolarCheckoutRow, { userId });
    await tx.update(BillingAccount, { userId }, { syncAt: null });
    await this.jobs.send(JOB, { userId }, tx);
  }
}
