import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { UserAccess } from '../common/access';
import { usdNumber } from '../common/money';
import { pageDto, PageQueryDto, pageRequest } from '../common/pagination';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RateLimited } from '../limits/rate-limit.decorator';
import { type Plan, plans, TOKEN_BEYOND_NANO_USD } from '../users/plans';
import {
  BillingEventDto,
  BillingEventsDto,
  BillingInfoDto,
  ChangePlanDto,
  CheckoutRequestDto,
  PlanDto,
  PlansDto,
  PolarPageDto,
  ReturnDto,
} from './billing.dto';
import { BillingErrors } from './billing.errors';
import type { BillingEvent } from './billing-event.entity';
import { type BillingInfo, BillingService } from './billing.service';
import { Catalogue } from './catalogue';
import type { PolarPage } from './checkouts';
import { SubscriptionsService } from './subscriptions.service';

@ApiTags('Billing')
@UserAccess()
@Controller('auth/billing')
export class BillingController {
  constructor(
    private readonly billing: BillingService,
    private readonly subscriptions: SubscriptionsService,
    private readonly catalogue: Catalogue,
  ) {}

  @Get('plans')
  @ApiOperation({ summary: 'The plans', description: 'What each costs, includes and allows.' })
  @ApiOkResponse({ type: PlansDto, description: 'Every plan that a customer can have.' })
  plans(): PlansDto {
    const shown = Object.values(plans).filter(({ tier }) => tier !== 'internal');
    return { data: shown.map((plan) => toPlanDto(plan, this.catalogue.productOf(plan.tier) !== null)) };
  }

  @Get('info')
  @ApiOperation({
    summary: 'Own plan, and what it costs this period',
    description:
      'From the ledger as of the last answered call; also while the billing provider does not answer.',
  })
  @ApiOkResponse({ type: BillingInfoDto, description: 'The plan in force, its period, use and cost.' })
  async info(@CurrentPrincipal() { userId }: UserPrincipal): Promise<BillingInfoDto> {
    return toInfoDto(await this.billing.info(userId));
  }

  @Get('events')
  @ApiOperation({ summary: 'What happened to own subscription and orders', description: 'Newest first.' })
  @ApiOkResponse({ type: BillingEventsDto, description: 'A page of events.' })
  async events(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Query() query: PageQueryDto,
  ): Promise<BillingEventsDto> {
    return pageDto(await this.billing.events(userId, pageRequest(query)), toEventDto);
  }

  @Post('checkout')
  @HttpCode(200)
  @RateLimited('billing')
  @ApiOperation({
    summary: 'Buy a plan',
    description:
      'Gives the page to pay on; the same one again while it is open and leads back to the same place. The plan changes when the payment is through, whatever page the customer comes back to.',
  })
  @ApiOkResponse({ type: PolarPageDto, description: 'The page to pay on.' })
  @ApiProblems(
    BillingErrors.notConfigured,
    BillingErrors.unavailable,
    BillingErrors.refused,
    BillingErrors.notForSale,
    BillingErrors.subscriptionExists,
    BillingErrors.checkoutBusy,
    BillingErrors.badReturnUrl,
  )
  async checkout(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { tier, return_url }: CheckoutRequestDto,
  ): Promise<PolarPageDto> {
    return toPageDto(await this.subscriptions.checkout(principal, tier, return_url));
  }

  @Post('portal')
  @HttpCode(200)
  @RateLimited('billing')
  @ApiOperation({ summary: 'Open the customer portal', description: 'Invoices and means of payment.' })
  @ApiOkResponse({ type: PolarPageDto, description: 'A page for this click; do not keep it.' })
  @ApiProblems(
    BillingErrors.notConfigured,
    BillingErrors.unavailable,
    BillingErrors.refused,
    BillingErrors.noCustomer,
    BillingErrors.badReturnUrl,
  )
  async portal(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { return_url }: ReturnDto,
  ): Promise<PolarPageDto> {
    return toPageDto(await this.subscriptions.portal(principal, return_url));
  }

  @Post('subscription/change')
  @HttpCode(200)
  @RateLimited('billing')
  @ApiOperation({
    summary: 'Change to another plan',
    description:
      'To a higher one at once, the difference invoiced now; to a lower one with the next period. The current one takes back a lower one that was to follow. One that is to end is resumed first.',
  })
  @ApiOkResponse({ type: BillingInfoDto, description: 'The plan as it is now.' })
  @ApiProblems(
    BillingErrors.notConfigured,
    BillingErrors.unavailable,
    BillingErrors.outcomeUnknown,
    BillingErrors.refused,
    BillingErrors.notForSale,
    BillingErrors.noSubscription,
    BillingErrors.subscriptionEnds,
  )
  async change(
    @CurrentPrincipal() principal: UserPrincipal,
    @Body() { tier }: ChangePlanDto,
  ): Promise<BillingInfoDto> {
    await this.subscriptions.change(principal, tier);
    return toInfoDto(await this.billing.info(principal.userId));
  }

  @Post('subscription/cancel')
  @HttpCode(200)
  @RateLimited('billing')
  @ApiOperation({
    summary: 'End the subscription with its period',
    description: 'Until then nothing changes.',
  })
  @ApiOkResponse({ type: BillingInfoDto, description: 'The plan as it is now.' })
  @ApiProblems(
    BillingErrors.notConfigured,
    BillingErrors.unavailable,
    BillingErrors.outcomeUnknown,
    BillingErrors.refused,
    BillingErrors.noSubscription,
  )
  async cancel(@CurrentPrincipal() principal: UserPrincipal): Promise<BillingInfoDto> {
    await this.subscriptions.setEnding(principal, true);
    return toInfoDto(await this.billing.info(principal.userId));
  }

  @Post('subscription/resume')
  @HttpCode(200)
  @RateLimited('billing')
  @ApiOperation({ summary: 'Let a subscription that was to end go on' })
  @ApiOkResponse({ type: BillingInfoDto, description: 'The plan as it is now.' })
  @ApiProblems(
    BillingErrors.notConfigured,
    BillingErrors.unavailable,
    BillingErrors.outcomeUnknown,
    BillingErrors.refused,
    BillingErrors.noSubscription,
  )
  async resume(@CurrentPrincipal() principal: UserPrincipal): Promise<BillingInfoDto> {
    await this.subscriptions.setEnding(principal, false);
    return toInfoDto(await this.billing.info(principal.userId));
  }
}

function toPlanDto(plan: Plan, forSale: boolean): PlanDto {
  return {
    tier: plan.tier,
    name: plan.name,
    price_usd_per_month: plan.priceUsdPerMonth,
    tokens_included_per_month: plan.tokensIncludedPerMonth,
    beyond_included: plan.beyondIncluded,
    price_usd_per_token_beyond: plan.beyondIncluded === 'billed' ? usdNumber(TOKEN_BEYOND_NANO_USD) : null,
    active_keys_max: plan.activeKeysMax,
    key_rate_per_minute_max: plan.keyRatePerMinuteMax,
    requests_per_hour_max: plan.requestsPerHourMax,
    requests_per_day_max: plan.requestsPerDayMax,
    for_sale: forSale,
  };
}

function toInfoDto(info: BillingInfo): BillingInfoDto {
  return {
    tier: info.tier,
    status: info.status,
    cancel_at_period_end: info.cancelAtPeriodEnd,
    pending_tier: info.pendingTier,
    period_start: info.periodStart.toISOString(),
    period_end: info.periodEnd.toISOString(),
    tokens_included: info.tokensIncluded,
    tokens_used: info.tokensUsed,
    cost_so_far_usd: usdNumber(info.costSoFar),
    forecast_cost_usd: usdNumber(info.forecastCost),
    portal_available: info.portalAvailable,
  };
}

function toEventDto({ id, type, eventAt, receivedAt }: BillingEvent): BillingEventDto {
  return { id, type, occurred_at: eventAt.toISOString(), received_at: receivedAt.toISOString() };
}

function toPageDto({ url, expiresAt }: PolarPage): PolarPageDto {
  return { url, expires_at: expiresAt.toISOString() };
}
