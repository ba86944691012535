import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { UserAccess } from '../common/access';
import { usdNumber } from '../common/money';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { UsageStatsDto } from './usage.dto';
import { UsageService, type UsageSum } from './usage.service';

@ApiTags('Usage')
@UserAccess()
@Controller('auth/usage')
export class UsageController {
  constructor(private readonly usage: UsageService) {}

  @Get('stats')
  @ApiOperation({
    summary: 'What was used and what it cost',
    description: 'Ever, and since midnight UTC; exact as of the last answered call.',
  })
  @ApiOkResponse({ type: UsageStatsDto, description: 'The sums of the ledger.' })
  async stats(@CurrentPrincipal() { userId }: UserPrincipal): Promise<UsageStatsDto> {
    return toStatsDto(await this.usage.stats(userId));
  }
}

function toStatsDto({ total, today }: { total: UsageSum; today: UsageSum }): UsageStatsDto {
  return {
    total_requests: total.requests,
    total_tokens: total.tokens,
    total_cost_usd: usdNumber(total.costNanoUsd),
    requests_today: today.requests,
    tokens_today: today.tokens,
    cost_today_usd: usdNumber(today.costNanoUsd),
  };
}
