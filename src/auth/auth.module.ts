import { Module } from '@nestjs/common';
import { JwtModule } from '@nestjs/jwt';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { UsersModule } from '../users/users.module';
import { AccessTokens } from './access-tokens';
import { AuthController } from './auth.controller';
import { AuthMails } from './auth.mails';
import { AuthService } from './auth.service';
import { MailLinksController } from './mail-links.controller';
import { OneTimeToken } from './one-time-token.entity';
import { OneTimeTokens } from './one-time-tokens';
import { Session } from './session.entity';
import { SessionsService } from './sessions.service';
import { AccessTokenStrategy, ApiKeyStrategy } from './strategies';

@Module({
  imports: [
    TypeOrmModule.forFeature([Session, OneTimeToken]),
    JwtModule.register({}),
    UsersModule,
    ApiKeysModule,
  ],
  controllers: [AuthController, MailLinksController],
  providers: [
    AuthService,
    AuthMails,
    AccessTokens,
    SessionsService,
    OneTimeTokens,
    AccessTokenStrategy,
    ApiKeyStrategy,
  ],
  exports: [AccessTokenStrategy, ApiKeyStrategy],
})
export class AuthModule {}
