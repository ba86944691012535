import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../platform/audit/audit.module';
import { JobsModule } from '../platform/jobs/jobs.module';
import { UserAddresses } from './user-addresses';
import { User } from './user.entity';
import { UsersController } from './users.controller';
import { UsersService } from './users.service';

@Module({
  imports: [TypeOrmModule.forFeature([User]), AuditModule, JobsModule],
  controllers: [UsersController],
  providers: [UsersService, UserAddresses],
  exports: [UsersService, UserAddresses],
})
export class UsersModule {}
