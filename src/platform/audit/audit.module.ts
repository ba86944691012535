import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Audit } from './audit';
import { AuditDetails } from './audit-details.entity';
import { AuditEvent } from './audit-event.entity';
import { AuditHead } from './audit-head.entity';
import { AuditSealer } from './audit-sealer';
import { AuditController } from './audit.controller';

/** Not global: of modules that are, the database's may close before this one has sealed its last events. */
@Module({
  imports: [TypeOrmModule.forFeature([AuditEvent, AuditDetails, AuditHead])],
  controllers: [AuditController],
  providers: [Audit, AuditSealer],
  exports: [Audit],
})
export class AuditModule {}
