import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { SkipThrottle } from '@nestjs/throttler';
import { ApiKeyAccess } from '../common/access';
import { MessageDto } from '../common/message.dto';
import { Origin, type RequestOrigin } from '../common/origin';
import { type ApiKeyPrincipal, CurrentPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { meteredPolicies } from '../limits/policies';
import { RateLimited } from '../limits/rate-limit.decorator';
import { UsageStatsDto } from '../usage/usage.dto';
import { UsageErrors } from '../usage/usage.errors';
import { UsageService } from '../usage/usage.service';
import { GatewayErrors } from './gateway.errors';
import { CheckedDto, CheckQueryDto, TrackDto } from './sdk.dto';
import { TrackingService } from './tracking.service';

/** How the Cortex Memory SDK asks before it works, and reports afterwards. */
@ApiTags('Gateway')
@ApiKeyAccess(null)
@Controller('usage')
export class SdkUsageController {
  constructor(
    private readonly usage: UsageService,
    private readonly tracking: TrackingService,
  ) {}

  @Get('check')
  @SkipThrottle()
  @ApiOperation({
    summary: 'Would a call be let in now?',
    description: 'Nothing is consumed. What would be refused is answered with the refusal.',
  })
  @ApiOkResponse({ type: CheckedDto, description: 'It would.' })
  @ApiProblems(GatewayErrors.capReached)
  check(
    @CurrentPrincipal() principal: ApiKeyPrincipal,
    @Query() { operation }: CheckQueryDto,
  ): Promise<CheckedDto> {
    return this.tracking.check(principal, operation);
  }

  @Post('track')
  @HttpCode(200)
  @RateLimited(...meteredPolicies)
  @ApiOperation({
    summary: 'Report that something was done',
    description:
      'A line in the ledger of the owner of this key, with no tokens, at the price of one call of the operation: 0 unless an admin has set another.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'The line is written.' })
  @ApiProblems(GatewayErrors.timestampOutOfRange, UsageErrors.ledgerBusy)
  async track(
    @CurrentPrincipal() principal: ApiKeyPrincipal,
    @Body() body: TrackDto,
    @Origin() origin: RequestOrigin,
  ): Promise<MessageDto> {
    await this.tracking.track(principal, body, origin);
    return { message: 'Usage tracked' };
  }

  @Get('stats')
  @ApiOperation({ summary: 'What the owner of this key used and what it cost' })
  @ApiOkResponse({ type: UsageStatsDto, description: 'The sums of the ledger.' })
  async stats(@CurrentPrincipal() { userId }: ApiKeyPrincipal): Promise<UsageStatsDto> {
    return UsageStatsDto.from(await this.usage.stats(userId));
  }
}
