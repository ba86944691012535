import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIP, IsString, Length } from 'class-validator';
import { type Verdict, verdicts } from '../common/denials';
import { usdNumber } from '../common/money';
import { Optional } from '../common/optional';
import { type Environment, environments, type Tier, tiers } from '../common/principal';
import type { ClaimState } from '../limits/decision';
import { type BudgetStanding, leftOf } from './cap-look';
import type { Verification } from './verification.service';

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';

export class VerifyKeyDto {
  @ApiProperty({
    minLength: 1,
    maxLength: 512,
    example: 'ctx_live_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50Abc12',
    description: 'What the client of your service sent as its API key.',
  })
  @IsString()
  @Length(1, 512)
  key!: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 64,
    example: 'read',
    description: 'The permission that your operation needs; absent: any key will do.',
  })
  @Optional()
  @IsString()
  @Length(1, 64)
  permission?: string;

  @ApiPropertyOptional({
    maxLength: 45,
    example: '203.0.113.7',
    description: 'The address of your client; without it, a key with `allowed_ips` is refused.',
  })
  @Optional()
  @IsIP()
  ip_address?: string;
}

export class VerifiedLimitDto {
  @ApiProperty({ example: 'api-key', description: 'Name of the policy, as `RateLimit-Policy` has it.' })
  name!: string;

  @ApiProperty({ type: 'integer', example: 100, description: 'Calls in any span of `window_seconds`.' })
  limit!: number;

  @ApiProperty({ type: 'integer', example: 60, description: 'Length of the window, in seconds.' })
  window_seconds!: number;

  @ApiProperty({ type: 'integer', example: 99, description: 'Calls that are left.' })
  remaining!: number;

  @ApiProperty({ type: 'integer', example: 60, description: 'Seconds until the next place frees.' })
  reset_seconds!: number;

  static from(this: void, { claim, remaining, resetMs }: ClaimState): VerifiedLimitDto {
    return {
      name: claim.policy,
      limit: claim.limit,
      window_seconds: claim.windowMs / 1_000,
      remaining,
      reset_seconds: Math.ceil(resetMs / 1_000),
    };
  }
}

/** Spelled out here: a schema of its own could not be null. */
const budgetProperties = {
  scope: { type: 'string', enum: ['api_key', 'account'], description: 'Whose budget it is.' },
  limit_usd: { type: 'number', description: 'Most that a calendar month (UTC) may cost, in US dollars.' },
  used_usd: { type: 'number', description: 'What the answered calls of this month cost.' },
  held_usd: { type: 'number', description: 'What calls under way may cost at most.' },
  remaining_usd: { type: 'number', description: 'What is left.' },
  resets_at: { type: 'string', format: 'date-time', description: 'When it begins anew.' },
} as const;

type VerifiedBudget = Record<keyof typeof budgetProperties, string | number>;

function toBudget(budget: BudgetStanding): VerifiedBudget {
  const { scope, limit, settled, held, resetsAt } = budget;
  const left = leftOf(budget);
  return {
    scope,
    limit_usd: usdNumber(limit),
    used_usd: usdNumber(settled),
    held_usd: usdNumber(held),
    remaining_usd: usdNumber(left > 0n ? left : 0n),
    resets_at: resetsAt.toISOString(),
  };
}

export class VerificationDto {
  @ApiProperty({ example: true, description: 'Whether to serve the call; the same as `code` being VALID.' })
  valid!: boolean;

  @ApiProperty({ enum: verdicts, example: 'VALID', description: 'VALID, or why not.' })
  code!: Verdict;

  @ApiProperty({ type: String, format: 'uuid', nullable: true, example: ID, description: 'Id of the key.' })
  key_id!: string | null;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    example: ID,
    description: 'Id of the owner of the key.',
  })
  user_id!: string | null;

  @ApiProperty({
    type: String,
    enum: [...tiers, null],
    nullable: true,
    example: 'starter',
    description: "The owner's plan.",
  })
  plan!: Tier | null;

  @ApiProperty({
    type: String,
    enum: [...environments, null],
    nullable: true,
    example: 'live',
    description: 'The label of the key.',
  })
  environment!: Environment | null;

  @ApiProperty({
    type: 'object',
    nullable: true,
    additionalProperties: { type: 'boolean' },
    example: {},
    description: 'What the key may do; empty: every ordinary operation.',
  })
  permissions!: Record<string, boolean> | null;

  @ApiProperty({
    type: 'object',
    nullable: true,
    additionalProperties: { type: 'string' },
    example: { team: 'search' },
    description: "The owner's notes on the key.",
  })
  metadata!: Record<string, string> | null;

  @ApiProperty({
    type: [VerifiedLimitDto],
    description: 'The rate limits of the key, this call counted; empty when it was refused before.',
  })
  ratelimits!: VerifiedLimitDto[];

  @ApiProperty({
    type: 'object',
    nullable: true,
    properties: budgetProperties,
    required: Object.keys(budgetProperties),
    additionalProperties: false,
    example: {
      scope: 'api_key',
      limit_usd: 25.5,
      used_usd: 3.4567,
      held_usd: 0.12,
      remaining_usd: 21.9233,
      resets_at: '2026-02-01T00:00:00.000Z',
    },
    description:
      'The budget with the least left, of the key or of its account; null when there is none, or the key was refused before. At most a second old.',
  })
  budget!: VerifiedBudget | null;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: null,
    description: 'With RATE_LIMITED: seconds until there is a place again.',
  })
  retry_after!: number | null;

  @ApiProperty({ example: ID, description: 'Quote it when you ask about this answer.' })
  request_id!: string;

  static from(
    this: void,
    { code, principal, limits, budget, waitMs }: Verification,
    requestId: string,
  ): VerificationDto {
    return {
      valid: code === 'VALID',
      code,
      key_id: principal?.apiKeyId ?? null,
      user_id: principal?.userId ?? null,
      plan: principal?.tier ?? null,
      environment: principal?.environment ?? null,
      permissions: principal?.permissions ?? null,
      metadata: principal?.metadata ?? null,
      ratelimits: limits.map(VerifiedLimitDto.from),
      budget: budget && toBudget(budget),
      retry_after: waitMs === null ? null : Math.ceil(waitMs / 1_000),
      request_id: requestId,
    };
  }
}
