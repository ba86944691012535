import { Module } from '@nestjs/common';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { UsageModule } from '../usage/usage.module';
import { CapLook } from './cap-look';
import { Customers } from './customers';
import { ForwardController } from './forward.controller';
import { KeysController } from './keys.controller';
import { SdkAuthController } from './sdk-auth.controller';
import { SdkUsageController } from './sdk-usage.controller';
import { TrackingService } from './tracking.service';
import { UsageEventsController } from './usage-events.controller';
import { UsageEventsService } from './usage-events.service';
import { VerificationService } from './verification.service';

@Module({
  imports: [ApiKeysModule, UsageModule],
  controllers: [
    KeysController,
    ForwardController,
    SdkAuthController,
    SdkUsageController,
    UsageEventsController,
  ],
  providers: [VerificationService, TrackingService, CapLook, Customers, UsageEventsService],
})
export class GatewayModule {}
