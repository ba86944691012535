import { Module } from '@nestjs/common';
import { JwtModule } from '@nestjs/jwt';
import { PassportModule } from '@nestjs/passport';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { UsersModule } from '../users/users.module';
import { AccessTokens } from './access-tokens';
import { AuthController } from './auth.controller';
import { AuthService } from './auth.service';
import { MailLinksController } from './mail-links.controller';
import { OneTimeToken } from './one-time-token.entity';
import { OneTimeTokens } from './one-time-tokens';
import { Session } from './session.entity';
import { SessionsService } from './sessions.service';
import { AccessTokenStrategy, ApiKeyBearerStrategy, ApiKeyHeaderStrategy } from './strategies';

@Module({
  imports: [TypeOrmModule.forFeature([Session, OneTimeToken]), JwtModule.register({}), PassportModule, UsersModule, ApiKeysModule],
  controllers: [AuthController, MailLinksController],
  providers: [AuthService, AccessTokens, SessionsService, OneTimeTokens, AccessTokenStrategy, ApiKeyHeaderStrategy, ApiKeyBearerStrategy],
})
export class AuthModule {}
