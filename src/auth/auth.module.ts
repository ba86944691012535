import { Module } from '@nestjs/common';
import { JwtModule } from '@nestjs/jwt';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { AuditModule } from '../platform/audit/audit.module';
import { JobsModule } from '../platform/jobs/jobs.module';
import { TwoFactorModule } from '../two-factor/two-factor.module';
import { UsersModule } from '../users/users.module';
import { AccessTokens } from './access-tokens';
import { AuthController } from './auth.controller';
import { AuthMails } from './auth.mails';
import { AuthService } from './auth.service';
import { BreachedPasswords } from './breached-passwords';
import { EmailChangeController } from './email-change.controller';
import { EmailChangeService } from './email-change.service';
import { JwksController } from './jwks.controller';
import { LockNotices } from './lock-notices';
import { LoginService } from './login.service';
import { MailLinksController } from './mail-links.controller';
import { PasswordController } from './password.controller';
import { PasswordProof } from './password-proof';
import { PasswordService } from './password.service';
import { RefreshTokens } from './refresh-tokens';
import { SecondFactorService } from './second-factor.service';
import { SessionsController } from './sessions.controller';
import { OneTimeToken } from './one-time-token.entity';
import { OneTimeTokens } from './one-time-tokens';
import { Session } from './session.entity';
import { SessionsService } from './sessions.service';
import { AccessTokenStrategy, ApiKeyStrategy } from './strategies';
import { TakeBack } from './take-back';
import { TwoFactorController } from './two-factor.controller';
import { VerificationController } from './verification.controller';
import { VerificationService } from './verification.service';

@Module({
  imports: [
    TypeOrmModule.forFeature([Session, OneTimeToken]),
    JwtModule.register({}),
    AuditModule,
    JobsModule,
    UsersModule,
    ApiKeysModule,
    TwoFactorModule,
  ],
  controllers: [
    AuthController,
    VerificationController,
    JwksController,
    SessionsController,
    PasswordController,
    TwoFactorController,
    EmailChangeController,
    MailLinksController,
  ],
  providers: [
    AuthService,
    LoginService,
    AuthMails,
    LockNotices,
    PasswordService,
    PasswordProof,
    BreachedPasswords,
    SecondFactorService,
    VerificationService,
    EmailChangeService,
    TakeBack,
    RefreshTokens,
    AccessTokens,
    SessionsService,
    OneTimeTokens,
    AccessTokenStrategy,
    ApiKeyStrategy,
  ],
  exports: [SessionsService, OneTimeTokens, PasswordProof, AccessTokenStrategy, ApiKeyStrategy],
})
export class AuthModule {}
