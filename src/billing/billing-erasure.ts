import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Jobs } from '../platform/jobs/jobs';
import { BillingAccount } from './billing-account.entity';
import { BillingEvent } from './billing-event.entity';
import { PolarCheckoutRow } from './polar-checkout.entity';
import { PolarClient } from './polar-client';
import { Outbox } from './usage-outbox';
import { UsageReporter } from './usage-reporter';

const JOB = 'billing-erasure';
/** What Polar does not take now it is offered again with the next try. */
const RETRY_SECONDS = 30;
/** Whoever asked Polar about the customer just before may have made him anew; it takes less than that. */
const SECOND_PASS_SECONDS = 300;

/** Takes a person out of billing. */
@Injectable()
export class BillingErasure implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly jobs: Jobs,
    private readonly outbox: Outbox,
    private readonly usage: UsageReporter,
    private readonly polar: PolarClient,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ userId: string }>(JOB, ({ userId }) => this.forget(userId));
  }

  /**
   * Forgets what Polar said of a person, and has Polar forget him once `tx` has committed and it was told what he used:
   * that ends his subscription and blacks out his name there. What was billed stays, here and there.
   */
  async erase(userId: string, tx: EntityManager): Promise<void> {
    await tx.update(BillingEvent, { userId }, { payload: null });
    await tx.delete(PolarCheckoutRow, { userId });
    await tx.update(BillingAccount, { userId }, { syncAt: null });
    await this.jobs.send(JOB, { userId }, tx);
    await this.jobs.send(JOB, { userId }, tx, SECOND_PASS_SECONDS);
  }

  /** Usage that comes after its customer has gone is charged to nobody: he stays until all of it is there. */
  private async forget(userId: string): Promise<void> {
    if (!this.polar.isConfigured) return;
    await this.usage.take();
    await this.usage.send();
    if (await this.outbox.hasUnsent(userId)) await this.jobs.send(JOB, { userId }, this.db, RETRY_SECONDS);
    else await this.polar.anonymizeCustomer(userId);
  }
}
