import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../platform/audit/audit.module';
import { UsersModule } from '../users/users.module';
import { BackupCode } from './backup-code.entity';
import { LoginChallenges } from './login-challenges';
import { TwoFactor } from './two-factor.entity';
import { TwoFactorResets } from './two-factor-resets';
import { TwoFactorMails } from './two-factor.mails';
import { TwoFactorService } from './two-factor.service';

@Module({
  imports: [TypeOrmModule.forFeature([TwoFactor, BackupCode]), AuditModule, UsersModule],
  providers: [TwoFactorService, TwoFactorResets, TwoFactorMails, LoginChallenges],
  exports: [TwoFactorService, TwoFactorResets, LoginChallenges],
})
export class TwoFactorModule {}
