import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { LOG } from '../common/log-token';
import { Jobs } from '../platform/jobs/jobs';
import { backoffMs } from './backoff';
import { BillingAccount } from './billing-account.entity';
import { BillingEvent } from './billing-event.entity';
import { PolarCheckoutRow } from './polar-checkout.entity';
import { PolarClient } from './polar-client';
import { PolarFailure } from './polar-failure';
import { Outbox } from './usage-outbox';
import { UsageReporter } from './usage-reporter';

/** The job that has Polar forget one person; it may be asked for again at any time. */
export const ERASURE_JOB = 'billing-erasure';
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
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ userId: string; failures?: number }>(ERASURE_JOB, ({ userId, failures = 0 }) =>
      this.forget(userId, failures),
    );
  }

  /**
   * Forgets what Polar said of a person, and has Polar forget him once `tx` has committed and it was told what he used:
   * that ends his subscription and blacks out his name there. What was billed stays, here and there.
   */
  async erase(userId: string, tx: EntityManager): Promise<void> {
    await tx.update(BillingEvent, { userId }, { payload: null });
    await tx.delete(PolarCheckoutRow, { userId });
    await tx.update(BillingAccount, { userId }, { syncAt: null });
    await this.jobs.send(ERASURE_JOB, { userId }, tx);
    await this.jobs.send(ERASURE_JOB, { userId }, tx, SECOND_PASS_SECONDS);
  }

  /** Usage that comes after its customer has gone is charged to nobody: he stays until all of it is there. */
  private async forget(userId: string, failures: number): Promise<void> {
    if (!this.polar.isConfigured) return;
    await this.usage.take();
    await this.usage.send();
    if (await this.outbox.hasUnsent(userId)) {
      await this.jobs.send(ERASURE_JOB, { userId }, this.db, RETRY_SECONDS);
      return;
    }
    try {
      await this.polar.anonymizeCustomer(userId);
    } catch (error) {
      if (!(error instanceof PolarFailure)) throw error;
      this.log.error({ user_id: userId, reason: error.message }, 'erased account not taken out of Polar');
      // A job that fails is given up after a day, and he would be charged for ever.
      const delaySeconds = Math.ceil(backoffMs(failures + 1) / 1_000);
      await this.jobs.send(ERASURE_JOB, { userId, failures: failures + 1 }, this.db, delaySeconds);
    }
  }
}
