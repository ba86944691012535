import { Module } from '@nestjs/common';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { AuthModule } from '../auth/auth.module';
import { BillingModule } from '../billing/billing.module';
import { AuditModule } from '../platform/audit/audit.module';
import { JobsModule } from '../platform/jobs/jobs.module';
import { TwoFactorModule } from '../two-factor/two-factor.module';
import { UsageModule } from '../usage/usage.module';
import { UsersModule } from '../users/users.module';
import { AccountController } from './account.controller';
import { AccountErasureService } from './account-erasure.service';
import { AccountExportService } from './account-export.service';
import { AccountMails } from './account.mails';
import { CleanupService } from './cleanup.service';

@Module({
  imports: [
    AuditModule,
    JobsModule,
    UsersModule,
    ApiKeysModule,
    TwoFactorModule,
    AuthModule,
    UsageModule,
    BillingModule,
  ],
  controllers: [AccountController],
  providers: [AccountExportService, AccountErasureService, AccountMails, CleanupService],
})
export class AccountModule {}
