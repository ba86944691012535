import { Module } from '@nestjs/common';
import { ApiKeysModule } from '../api-keys/api-keys.module';
import { UsageModule } from '../usage/usage.module';
import { CapLook } from './cap-look';
import { Customers } from './customers';
import { ForwardController } from './forward.controller';
import { GithubLeaks } from './github-leaks.service';
import { GithubSigners } from './github-signers';
import { KeysController } from './keys.controller';
import { LeaksController } from './leaks.controller';
import { SdkAuthController } from './sdk-auth.controller';
import { SdkUsageController } from './sdk-usage.controller';
import { TrackingService } from './tracking.service';
import { UsageEventsController } from './usage-events.controller';
import { UsageEventsService } from './usage-events.service';
import { UsageHoldsController } from './usage-holds.controller';
import { UsageHoldsService } from './usage-holds.service';
import { VerificationService } from './verification.service';

@Module({
  imports: [ApiKeysModule, UsageModule],
  controllers: [
    KeysController,
    LeaksController,
    ForwardController,
    SdkAuthController,
    SdkUsageController,
    UsageEventsController,
    UsageHoldsController,
  ],
  providers: [
    VerificationService,
    TrackingService,
    CapLook,
    Customers,
    UsageEventsService,
    UsageHoldsService,
    GithubSigners,
    GithubLeaks,
  ],
})
export class GatewayModule {}
