import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { AuthModule } from '../auth/auth.module';
import { AuditModule } from '../platform/audit/audit.module';
import { HealthModule } from '../platform/health/health.module';
import { JobsModule } from '../platform/jobs/jobs.module';
import { UsersModule } from '../users/users.module';
import { BillingAccount } from './billing-account.entity';
import { BillingAccounts } from './billing-accounts';
import { BillingAlarms } from './billing-alarms';
import { BillingController } from './billing.controller';
import { BillingErasure } from './billing-erasure';
import { BillingEvent } from './billing-event.entity';
import { BillingOverview } from './billing-overview';
import { BillingService } from './billing.service';
import { BillingTask } from './billing-task.entity';
import { BillingTasks } from './billing-tasks';
import { Catalogue } from './catalogue';
import { Checkouts } from './checkouts';
import { CustomerSync } from './customer-sync';
import { PolarCheckoutRow } from './polar-checkout.entity';
import { PolarClient } from './polar-client';
import { PolarSubscriptionRow } from './polar-subscription.entity';
import { Reconciler } from './reconciler';
import { Reconciliation } from './reconciliation';
import { SubscriptionsService } from './subscriptions.service';
import { UsageComparer } from './usage-comparer';
import { UsageComparison } from './usage-comparison.entity';
import { Outbox } from './usage-outbox';
import { UsageOutbox } from './usage-outbox.entity';
import { UsageReporter } from './usage-reporter';
import { WebhookApplier } from './webhook-applier';
import { WebhookRedelivery } from './webhook-redelivery';
import { WebhooksController } from './webhooks.controller';
import { WebhooksService } from './webhooks.service';

@Module({
  imports: [
    TypeOrmModule.forFeature([
      BillingAccount,
      BillingEvent,
      BillingTask,
      PolarCheckoutRow,
      PolarSubscriptionRow,
      UsageComparison,
      UsageOutbox,
    ]),
    ApiKeysModule,
    AuditModule,
    AuthModule,
    HealthModule,
    JobsModule,
    UsersModule,
  ],
  controllers: [BillingController, WebhooksController],
  providers: [
    BillingAccounts,
    BillingAlarms,
    BillingErasure,
    BillingOverview,
    BillingService,
    BillingTasks,
    Catalogue,
    Checkouts,
    CustomerSync,
    Outbox,
    PolarClient,
    Reconciler,
    Reconciliation,
    SubscriptionsService,
    UsageComparer,
    UsageReporter,
    WebhookApplier,
    WebhookRedelivery,
    WebhooksService,
  ],
  exports: [BillingErasure, BillingOverview, Reconciliation],
})
export class BillingModule {}
