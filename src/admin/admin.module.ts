import { Module } from '@nestjs/common';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { AuthModule } from '../auth/auth.module';
import { AuditModule } from '../platform/audit/audit.module';
import { HealthModule } from '../platform/health/health.module';
import { UsersModule } from '../users/users.module';
import { AdminAuditController } from './admin-audit.controller';
import { AdminUsersController } from './admin-users.controller';
import { AdminUsersService } from './admin-users.service';
import { ServiceMetrics } from './service-metrics';

@Module({
  imports: [AuditModule, HealthModule, UsersModule, ApiKeysModule, AuthModule],
  controllers: [AdminUsersController, AdminAuditController],
  providers: [AdminUsersService, ServiceMetrics],
})
export class AdminModule {}
