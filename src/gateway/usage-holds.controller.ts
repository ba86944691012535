import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiKeyAccess } from '../common/access';
import { IdDto } from '../common/id.dto';
import { MessageDto } from '../common/message.dto';
import { type ApiKeyPrincipal, CurrentPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { UsageErrors } from '../usage/usage.errors';
import { GatewayErrors } from './gateway.errors';
import { HoldDto, OpenHoldDto, SettledHoldDto, SettleHoldDto } from './usage-holds.dto';
import { UsageHoldsService } from './usage-holds.service';

/** For backends whose calls must stay under a cap while they run. */
@ApiTags('Gateway')
@ApiKeyAccess('usage:write')
@Controller('usage/holds')
export class UsageHoldsController {
  constructor(private readonly holds: UsageHoldsService) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Set aside the most that a call can take',
    description:
      'Before your backend serves a call. What is used and what is held never exceed a budget or a quota together, over all services. Settle or release it afterwards; else it is let go of when it expires.',
  })
  @ApiOkResponse({ type: HoldDto, description: 'It is held.' })
  @ApiProblems(UsageErrors.budgetExceeded, UsageErrors.quotaExceeded, UsageErrors.ledgerBusy)
  open(@CurrentPrincipal() { userId }: ApiKeyPrincipal, @Body() body: OpenHoldDto): Promise<HoldDto> {
    return this.holds.open(userId, body);
  }

  @Post(':id/settle')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Book what a held call did take',
    description:
      'In the place of what was held, into the month in which it was held. Sent again, it is booked once, so when an answer is lost, send the same again. The answer leaves after the commit.',
  })
  @ApiOkResponse({ type: SettledHoldDto, description: 'It is booked.' })
  @ApiProblems(
    GatewayErrors.holdNotFound,
    GatewayErrors.holdExceeded,
    GatewayErrors.holdSettled,
    UsageErrors.ledgerBusy,
  )
  settle(
    @CurrentPrincipal() { userId }: ApiKeyPrincipal,
    @Param() { id }: IdDto,
    @Body() body: SettleHoldDto,
  ): Promise<SettledHoldDto> {
    return this.holds.settle(userId, id, body);
  }

  @Post(':id/release')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Let go of what is held',
    description: 'For a call that failed: nothing is booked.',
  })
  @ApiOkResponse({ type: MessageDto, description: 'It is let go of.' })
  @ApiProblems(GatewayErrors.holdNotFound, GatewayErrors.holdSettled, UsageErrors.ledgerBusy)
  async release(
    @CurrentPrincipal() { userId }: ApiKeyPrincipal,
    @Param() { id }: IdDto,
  ): Promise<MessageDto> {
    await this.holds.release(userId, id);
    return { message: 'Hold released' };
  }
}
