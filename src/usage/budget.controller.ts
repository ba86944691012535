import { Body, Controller, Get, Put } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { UserAccess } from '../common/access';
import { budgetNumber } from '../common/budget';
import { usdNumber } from '../common/money';
import { Origin, type RequestOrigin } from '../common/origin';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { BudgetDto, SetBudgetDto } from './budget.dto';
import { type AccountBudget, BudgetService } from './budget.service';

@ApiTags('Usage')
@UserAccess()
@Controller('auth/usage/budget')
export class BudgetController {
  constructor(private readonly budgets: BudgetService) {}

  @Get()
  @ApiOperation({
    summary: 'The monthly budget and what is used of it',
    description: 'Of the account; each key may have a budget of its own. Months are calendar months in UTC.',
  })
  @ApiOkResponse({ type: BudgetDto, description: 'The caps of the account and their standing.' })
  async show(@CurrentPrincipal() { userId }: UserPrincipal): Promise<BudgetDto> {
    return toDto(await this.budgets.ofAccount(userId));
  }

  @Put()
  @ApiOperation({
    summary: 'Set the monthly budget',
    description:
      'Calls that might go beyond it are refused with `budget_exceeded`. In force within a second. Mails tell when 50, 80 and 100 % are used.',
  })
  @ApiOkResponse({ type: BudgetDto, description: 'The caps of the account and their standing.' })
  async set(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { monthly_budget_usd }: SetBudgetDto,
    @Origin() origin: RequestOrigin,
  ): Promise<BudgetDto> {
    await this.budgets.setForAccount(principal, monthly_budget_usd, origin);
    return toDto(await this.budgets.ofAccount(principal.userId));
  }
}

function toDto({ monthlyBudgetUsd, usd, tokensIncluded, tokens, resetsAt }: AccountBudget): BudgetDto {
  return {
    monthly_budget_usd: budgetNumber(monthlyBudgetUsd),
    used_usd: usdNumber(usd.settled),
    held_usd: usdNumber(usd.held),
    tokens_included: tokensIncluded,
    tokens_used: Number(tokens.settled),
    tokens_held: Number(tokens.held),
    resets_at: resetsAt.toISOString(),
  };
}
