import { Injectable } from '@nestjs/common';
import { BillingErrors } from './billing.errors';
import { BillingTasks } from './billing-tasks';
import { PolarClient } from './polar-client';
import { Reconciler } from './reconciler';
import { UsageComparer } from './usage-comparer';
import { Outbox } from './usage-outbox';

/** What the hourly and daily rounds do, at once. */
@Injectable()
export class Reconciliation {
  constructor(
    private readonly reconciler: Reconciler,
    private readonly comparer: UsageComparer,
    private readonly outbox: Outbox,
    private readonly tasks: BillingTasks,
    private readonly polar: PolarClient,
  ) {}

  /** @throws ApiError `billing_not_configured`. */
  async begin(): Promise<void> {
    if (!this.polar.isConfigured) throw BillingErrors.notConfigured();
    await this.outbox.reviveDead();
    await this.tasks.hurry('usage-send');
    await this.reconciler.hurry();
    await this.comparer.compareAll();
  }
}
