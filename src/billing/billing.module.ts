import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { AuthModule } from '../auth/auth.module';
import { AuditModule } from '../platform/audit/audit.module';
import { JobsModule } from '../platform/jobs/jobs.module';
import { UsersModule } from '../users/users.module';
import { BillingAccount } from './billing-account.entity';
import { BillingAccounts } from './billing-accounts';
import { BillingController } from './billing.controller';
import { BillingErasure } from './billing-erasure';
import { BillingEvent } from './billing-event.entity';
import { BillingService } from './billing.service';
import { BillingTask } from './billing-task.entity';
import { BillingTasks } from './billing-tasks';
import { Catalogue } from './catalogue';
import { Checkouts } from './checkouts';
import { CustomerSync } from './customer-sync';
import { PolarCheckoutRow } from './polar-checkout.entity';
import { PolarClient } from './polar-client';
import { PolarSubscriptionRow } from './polar-subscription.entity';
import { SubscriptionsService } from './subscriptions.service';
import { WebhookApplier } from './webhook-applier';
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
    ]),
    ApiKeysModule,
    AuditModule,
    AuthModule,
    JobsModule,
    UsersModule,
  ],
  controllers: [BillingController, WebhooksController],
  providers: [
    BillingAccounts,
    BillingErasure,
    BillingService,
    BillingTasks,
    Catalogue,
    Checkouts,
    CustomerSync,
    PolarClient,
    SubscriptionsService,
    WebhookApplier,
    WebhooksService,
  ],
  exports: [BillingErasure],
})
export class BillingModule {}
