import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import {
  IsObject,
  Matches,
  Validate,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { Optional } from '../common/optional';
import { type Tier, tiers } from '../common/principal';
import { isTimestamp } from '../common/timestamp';
import type { ClaimState } from '../limits/decision';
import type { Plan } from '../users/plans';
import { BoundedJson, METADATA_BYTES_MAX, OPERATION, OPERATION_RULE } from './reported';

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';

const operationDocs = {
  pattern: OPERATION.source,
  example: 'memory.search',
  description: 'A name of your own for what was done.',
};

/** A time without a zone is UTC, as the SDK writes it. */
export function parseTimestamp(text: string): Date {
  return new Date(isTimestamp(text) ? text : `${text}Z`);
}

@ValidatorConstraint({ name: 'sdkTimestamp' })
class SdkTimestamp implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    return typeof value === 'string' && (isTimestamp(value) || isTimestamp(`${value}Z`));
  }

  defaultMessage(): string {
    return 'must be an ISO 8601 date and time, such as 2030-01-01T00:00:00; without a zone it is UTC';
  }
}

export class CheckQueryDto {
  @ApiProperty(operationDocs)
  @Matches(OPERATION, { message: OPERATION_RULE })
  operation!: string;
}

export class TrackDto {
  @ApiProperty(operationDocs)
  @Matches(OPERATION, { message: OPERATION_RULE })
  operation!: string;

  @ApiPropertyOptional({
    example: '2026-01-31T12:00:00',
    description:
      'When it was done, at most `REPORT_AGE_DAYS_MAX` (31) days ago; without a zone it is UTC. Absent: now.',
  })
  @Optional()
  @Validate(SdkTimestamp)
  timestamp?: string;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    example: { memories: 3 },
    description: `Anything you want to keep with it, at most ${METADATA_BYTES_MAX} bytes of JSON.`,
  })
  @Optional()
  @IsObject()
  @Validate(BoundedJson)
  metadata?: Record<string, unknown>;
}

export class UsageLimitsDto {
  @ApiProperty({ type: 'integer', example: 100, description: 'Calls of this key in any 60 seconds.' })
  requests_per_minute!: number;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 3_000,
    description: 'Calls of the owner in any hour; null: no limit.',
  })
  requests_per_hour!: number | null;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 20_000,
    description: 'Calls of the owner in any 24 hours; null: no limit.',
  })
  requests_per_day!: number | null;

  static from(plan: Plan, ratePerMinute: number): UsageLimitsDto {
    return {
      requests_per_minute: Math.min(ratePerMinute, plan.keyRatePerMinuteMax),
      requests_per_hour: plan.requestsPerHourMax,
      requests_per_day: plan.requestsPerDayMax,
    };
  }
}

export class ValidatedDto {
  @ApiProperty({ format: 'uuid', example: ID, description: 'Id of the owner of the key.' })
  user_id!: string;

  @ApiProperty({ enum: tiers, example: 'free', description: "The owner's plan." })
  plan!: Tier;

  @ApiProperty({ type: UsageLimitsDto, description: 'What the key may use.' })
  usage_limits!: UsageLimitsDto;
}

export class CheckedDto {
  @ApiProperty({ example: true, description: 'Always true: what would be refused is answered with 429.' })
  allowed!: boolean;

  @ApiProperty({ example: 'memory.search', description: 'The operation that was asked about.' })
  operation!: string;

  @ApiProperty({ type: 'integer', example: 100, description: 'The limit with the fewest places left.' })
  limit!: number;

  @ApiProperty({ type: 'integer', example: 99, description: 'How many places it has left.' })
  remaining!: number;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:01:00.000Z',
    description: 'When its next place frees; now, when none is taken.',
  })
  reset_at!: string;

  static from(operation: string, { claim, remaining, resetMs }: ClaimState, nowMs: number): CheckedDto {
    return {
      allowed: true,
      operation,
      limit: claim.limit,
      remaining,
      reset_at: new Date(nowMs + resetMs).toISOString(),
    };
  }
}

export class PlanUsageDto {
  @ApiProperty({ type: 'integer', example: 7, description: 'Answered calls since midnight UTC.' })
  requests_today!: number;

  @ApiProperty({ type: 'integer', example: 890, description: 'Tokens since midnight UTC.' })
  tokens_today!: number;

  @ApiProperty({ example: 0.089, description: 'Cost in US dollars since midnight UTC.' })
  cost_today_usd!: number;
}

export class OwnPlanDto {
  @ApiProperty({ enum: tiers, example: 'free', description: "The owner's plan." })
  plan!: Tier;

  @ApiProperty({ example: 'Free', description: 'What it is called.' })
  name!: string;

  @ApiProperty({ example: 0, description: 'US dollars a month.' })
  price_usd_per_month!: number;

  @ApiProperty({ type: UsageLimitsDto, description: 'What the plan and the key allow.' })
  limits!: UsageLimitsDto;

  @ApiProperty({ type: PlanUsageDto, description: 'What is used of it.' })
  usage!: PlanUsageDto;
}
