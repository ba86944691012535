import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsString, MaxLength } from 'class-validator';
import { Optional } from '../common/optional';
import { PaginationDto } from '../common/pagination';
import { type Tier, tiers } from '../common/principal';
import { type SoldTier, soldTiers } from './catalogue';

export class PlanDto {
  @ApiProperty({ enum: tiers, example: 'starter', description: 'The name that other answers use.' })
  tier!: Tier;

  @ApiProperty({ example: 'Starter', description: 'The name for people.' })
  name!: string;

  @ApiProperty({ example: 29, description: 'US dollars a month.' })
  price_usd_per_month!: number;

  @ApiProperty({ type: 'integer', example: 100_000, description: 'Tokens that the price includes.' })
  tokens_included_per_month!: number;

  @ApiProperty({
    enum: ['refused', 'billed'],
    example: 'billed',
    description: 'What happens to calls beyond the included tokens.',
  })
  beyond_included!: 'refused' | 'billed';

  @ApiProperty({
    type: Number,
    nullable: true,
    example: 0.0001,
    description: 'US dollars for each token beyond the included ones; null when such calls are refused.',
  })
  price_usd_per_token_beyond!: number | null;

  @ApiProperty({ type: 'integer', example: 20, description: 'Most API keys that are active at once.' })
  active_keys_max!: number;

  @ApiProperty({
    type: 'integer',
    example: 1_000,
    description: "Most a key's `rate_limit_per_minute` may be.",
  })
  key_rate_per_minute_max!: number;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 30_000,
    description: 'Metered calls in any hour; null: no limit.',
  })
  requests_per_hour_max!: number | null;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 200_000,
    description: 'Metered calls in any 24 hours; null: no limit.',
  })
  requests_per_day_max!: number | null;

  @ApiProperty({ example: true, description: 'Whether it can be bought here.' })
  for_sale!: boolean;
}

export class PlansDto {
  @ApiProperty({ type: [PlanDto], description: 'Every plan that a customer can have, cheapest first.' })
  data!: PlanDto[];
}

const subscriptionStatuses = [
  'none',
  'active',
  'trialing',
  'past_due',
  'paused',
  'canceled',
  'unpaid',
  'incomplete',
  'incomplete_expired',
] as const;

export class BillingInfoDto {
  @ApiProperty({ enum: tiers, example: 'starter', description: 'The tier in force.' })
  tier!: Tier;

  @ApiProperty({
    type: String,
    example: 'active',
    description: `State of the subscription: ${subscriptionStatuses.join(', ')}.`,
  })
  status!: string;

  @ApiProperty({
    example: false,
    description: 'Whether the subscription ends with its period.',
  })
  cancel_at_period_end!: boolean;

  @ApiProperty({
    type: String,
    enum: [...tiers, null],
    nullable: true,
    example: null,
    description: 'The plan that follows with the next period; null: no other is to follow.',
  })
  pending_tier!: Tier | null;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-01T00:00:00.000Z',
    description: 'When the period of billing began; without a subscription, the calendar month in UTC.',
  })
  period_start!: string;

  @ApiProperty({ format: 'date-time', example: '2026-02-01T00:00:00.000Z', description: 'When it ends.' })
  period_end!: string;

  @ApiProperty({ type: 'integer', example: 100_000, description: 'Tokens that the plan includes.' })
  tokens_included!: number;

  @ApiProperty({ type: 'integer', example: 34_567, description: 'Tokens used in the period so far.' })
  tokens_used!: number;

  @ApiProperty({
    example: 29,
    description:
      'The price of the plan that was bought, and what was used beyond its included tokens; 0 without a subscription, as of a plan that an operator set.',
  })
  cost_so_far_usd!: number;

  @ApiProperty({ example: 29, description: 'The cost of the whole period if use goes on as it did so far.' })
  forecast_cost_usd!: number;

  @ApiProperty({ example: true, description: 'Whether `POST /auth/billing/portal` has a page to show.' })
  portal_available!: boolean;
}

export class BillingEventDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Id of the event.',
  })
  id!: string;

  @ApiProperty({ example: 'subscription.active', description: "What happened, by Polar's name for it." })
  type!: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z', description: 'When it happened.' })
  occurred_at!: string;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:01.000Z',
    description: 'When it was heard of.',
  })
  received_at!: string;
}

export class BillingEventsDto {
  @ApiProperty({ type: [BillingEventDto], description: 'The events of the page, newest first.' })
  data!: BillingEventDto[];

  @ApiProperty({ type: PaginationDto, description: 'How the list goes on.' })
  pagination!: PaginationDto;
}

const RETURN_URL_CHARS_MAX = 2_000;

/** Where a customer comes back to from a page of Polar's. */
export class ReturnDto {
  @ApiPropertyOptional({
    type: String,
    maxLength: RETURN_URL_CHARS_MAX,
    example: 'https://app.example.com/billing',
    description:
      'Where to go on afterwards: an address of this service or of an allowed origin. Default: this service.',
  })
  @Optional()
  @IsString()
  @MaxLength(RETURN_URL_CHARS_MAX)
  return_url?: string;
}

export class CheckoutRequestDto extends ReturnDto {
  @ApiProperty({ enum: soldTiers, example: 'starter', description: 'The plan to buy.' })
  @IsIn(soldTiers)
  tier!: SoldTier;
}

export class ChangePlanDto {
  @ApiProperty({ enum: soldTiers, example: 'professional', description: 'The plan to change to.' })
  @IsIn(soldTiers)
  tier!: SoldTier;
}

export class PolarPageDto {
  @ApiProperty({ example: 'https://polar.sh/checkout/...', description: 'The page to open in the browser.' })
  url!: string;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T13:00:00.000Z',
    description: 'When the page ends.',
  })
  expires_at!: string;
}
