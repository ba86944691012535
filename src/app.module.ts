import { type DynamicModule, Module } from '@nestjs/common';
import type { Logger } from 'pino';
import { AccountModule } from './account/account.module';
import { AdminModule } from './admin/admin.module';
import { ApiKeysModule } from './api-keys/api-keys.module';
import { AuthModule } from './auth/auth.module';
import { ConfigModule } from './config/config.module';
import { BillingModule } from './billing/billing.module';
import type { Env } from './config/env';
import { GatewayModule } from './gateway/gateway.module';
import { GenerateModule } from './generate/generate.module';
import { LimitsModule } from './limits/limits.module';
import { AuditModule } from './platform/audit/audit.module';
import { CryptoModule } from './platform/crypto/crypto.module';
import { DatabaseModule } from './platform/database/database.module';
import { HealthModule } from './platform/health/health.module';
import { IdempotencyModule } from './platform/idempotency/idempotency.module';
import { JobsModule } from './platform/jobs/jobs.module';
import { MailModule } from './platform/mail/mail.module';
import { ObservabilityModule } from './platform/observability/observability.module';
import { RedisModule } from './platform/redis/redis.module';
import { requestPipeline } from './request-pipeline';
import { TwoFactorModule } from './two-factor/two-factor.module';
import { UsageModule } from './usage/usage.module';
import { UsersModule } from './users/users.module';

@Module({})
export class AppModule {
  /** The whole service, lowest module first. */
  static register(env: Env, databaseUrl: string, log: Logger): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ConfigModule.register(env),
        ObservabilityModule.register(log),
        DatabaseModule.register(env, databaseUrl),
        JobsModule,
        CryptoModule,
        IdempotencyModule,
        AuditModule,
        MailModule.register(env),
        RedisModule.register(env),
        HealthModule,
        UsersModule,
        LimitsModule,
        ApiKeysModule,
        TwoFactorModule,
        AuthModule,
        UsageModule,
        BillingModule,
        GatewayModule,
        GenerateModule,
        AccountModule,
        AdminModule,
      ],
      providers: requestPipeline,
    };
  }
}
