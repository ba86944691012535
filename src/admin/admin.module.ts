import { Module } from '@nestjs/common';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { AuthModule } from '../auth/auth.module';
import { BillingModule } from '../billing/billing.module';
import { AuditModule } from '../platform/audit/audit.module';
import { HealthModule } from '../platform/health/health.module';
import { UsageModule } from '../usage/usage.module';
import { TwoFactorModule } from '../two-factor/two-factor.module';
import { UsersModule } from '../users/users.module';
import { AdminApiKeysController } from './admin-api-keys.controller';
import { AdminAuditController } from './admin-audit.controller';
import { AdminBillingController } from './admin-billing.controller';
import { AdminPricesController } from './admin-prices.controller';
import { AdminUsersController } from './admin-users.controller';
import { AdminUsersService } from './admin-users.service';
import { ServiceMetrics } from './service-metrics';

@Module({
  imports: [
    AuditModule,
    BillingModule,
    HealthModule,
    UsersModule,
    ApiKeysModule,
    TwoFactorModule,
    AuthModule,
    UsageModule,
  ],
  controllers: [
    AdminUsersController,
    AdminBillingController,
    AdminAuditController,
    AdminApiKeysController,
    AdminPricesController,
  ],
  providers: [AdminUsersService, ServiceMetrics],
})
export class AdminModule {}
