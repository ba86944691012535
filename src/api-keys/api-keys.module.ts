import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../platform/audit/audit.module';
import { ApiKeyAuthenticator } from './api-key-authenticator';
import { ApiKeyMails } from './api-key-mails';
import { ApiKey } from './api-key.entity';
import { ApiKeyVersion } from './api-key-version.entity';
import { ApiKeysController } from './api-keys.controller';
import { ApiKeysService } from './api-keys.service';
import { AskedPermissions } from './asked-permissions';
import { KeyAdministration } from './key-administration.service';
import { KeyImport } from './key-import.service';
import { KeyLeaks } from './key-leaks.service';
import { KeyRotation } from './key-rotation.service';
import { KeyUses } from './key-uses';

@Module({
  imports: [TypeOrmModule.forFeature([ApiKey, ApiKeyVersion]), AuditModule],
  controllers: [ApiKeysController],
  providers: [
    ApiKeyMails,
    ApiKeyAuthenticator,
    ApiKeysService,
    KeyRotation,
    KeyAdministration,
    KeyImport,
    KeyLeaks,
    KeyUses,
    AskedPermissions,
  ],
  exports: [ApiKeyAuthenticator, ApiKeysService, KeyAdministration, KeyImport, KeyLeaks, AskedPermissions],
})
export class ApiKeysModule {}
