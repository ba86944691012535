import { Module } from '@nestjs/common';
import { RootController } from './root.controller';
import { HealthController } from './health.controller';
import { HealthService } from './health.service';
import { Readiness } from './readiness';

@Module({
  controllers: [RootController, HealthController],
  providers: [HealthService, Readiness],
  exports: [HealthService, Readiness],
})
export class HealthModule {}
