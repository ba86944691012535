import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiKeyAccess } from '../common/access';
import { usdNumber } from '../common/money';
import { type ApiKeyPrincipal, CurrentPrincipal } from '../common/principal';
import { UsageService } from '../usage/usage.service';
import { plans } from '../users/plans';
import { OwnPlanDto, UsageLimitsDto, ValidatedDto } from './sdk.dto';

/** What the Cortex Memory SDK asks about its key. */
@ApiTags('Gateway')
@ApiKeyAccess(null)
@Controller('auth')
export class SdkAuthController {
  constructor(private readonly usage: UsageService) {}

  @Get('validate')
  @ApiOperation({ summary: 'Whose key this is, and what it may use' })
  @ApiOkResponse({ type: ValidatedDto, description: 'The key is valid.' })
  validate(@CurrentPrincipal() { userId, tier, rateLimitPerMinute }: ApiKeyPrincipal): ValidatedDto {
    const usage_limits = UsageLimitsDto.from(plans[tier], rateLimitPerMinute);
    return { user_id: userId, plan: tier, usage_limits };
  }

  @Get('plan')
  @ApiOperation({ summary: 'The plan of the owner of this key, and what is used of it' })
  @ApiOkResponse({ type: OwnPlanDto, description: 'The plan.' })
  async plan(@CurrentPrincipal() { userId, tier, rateLimitPerMinute }: ApiKeyPrincipal): Promise<OwnPlanDto> {
    const { today } = await this.usage.stats(userId);
    return {
      plan: tier,
      name: plans[tier].name,
      price_usd_per_month: plans[tier].priceUsdPerMonth,
      limits: UsageLimitsDto.from(plans[tier], rateLimitPerMinute),
      usage: {
        requests_today: today.requests,
        tokens_today: today.tokens,
        cost_today_usd: usdNumber(today.costNanoUsd),
      },
    };
  }
}
