import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import {
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  Length,
  Max,
  Min,
  Validate,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { BudgetField, budgetNumber } from '../common/budget';
import { Optional } from '../common/optional';
import { IsTimestamp } from '../common/timestamp';
import type { ApiKey } from './api-key.entity';

const PERMISSIONS_MAX = 64;
const RATE_LIMIT_MAX = 2_147_483_647;

@ValidatorConstraint({ name: 'permissionMap' })
class PermissionMap implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return false;
    const entries = Object.entries(value);
    return (
      entries.length <= PERMISSIONS_MAX &&
      entries.every(([name, granted]) => name.length <= 64 && typeof granted === 'boolean')
    );
  }

  defaultMessage(): string {
    return `must be an object of at most ${PERMISSIONS_MAX} permission names, each true or false`;
  }
}

export class CreateApiKeyDto {
  @ApiProperty({ minLength: 1, maxLength: 255, example: 'My API Key', description: 'To tell keys apart.' })
  @IsString()
  @Length(1, 255)
  name!: string;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: { type: 'boolean' },
    default: {},
    example: { read: true, generate: true },
    description:
      'What the key may do: an empty object allows every ordinary operation, else only those set to true.',
  })
  @Optional()
  @IsObject()
  @Validate(PermissionMap)
  permissions?: Record<string, boolean>;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: RATE_LIMIT_MAX,
    default: 100,
    example: 100,
    description: 'Most requests in any 60 seconds; the plan sets the ceiling.',
  })
  @Optional()
  @IsInt()
  @Min(1)
  @Max(RATE_LIMIT_MAX)
  rate_limit_per_minute?: number;

  @BudgetField(
    "Most that the key's metered calls of a calendar month (UTC) may cost, in US dollars; absent or null: no cap.",
  )
  monthly_budget_usd?: number | null;

  @ApiPropertyOptional({
    type: String,
    format: 'date-time',
    nullable: true,
    example: '2030-01-01T00:00:00Z',
    description: 'When the key stops working, with a time zone; absent or null: never.',
  })
  @IsOptional()
  @IsTimestamp()
  expires_at?: string | null;
}

export class ApiKeyDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Id of the key.',
  })
  id!: string;

  @ApiProperty({ example: 'My API Key', description: 'To tell keys apart.' })
  name!: string;

  @ApiProperty({ example: 'ctx_live_a1B2', description: 'The first 13 characters of the key.' })
  key_prefix!: string;

  @ApiProperty({ example: true, description: 'False once deactivated.' })
  is_active!: boolean;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'boolean' },
    example: { read: true, generate: true },
    description: 'What the key may do; empty: every ordinary operation.',
  })
  permissions!: Record<string, boolean>;

  @ApiProperty({ type: 'integer', example: 100, description: 'Most requests in any 60 seconds.' })
  rate_limit_per_minute!: number;

  @ApiProperty({
    type: 'number',
    nullable: true,
    example: 25.5,
    description:
      'Most that its metered calls of a calendar month (UTC) may cost, in US dollars; null: no cap.',
  })
  monthly_budget_usd!: number | null;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:00.000Z',
    description: 'When the key was made.',
  })
  created_at!: string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'The last metered call.',
  })
  last_used!: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'When the key stops working; null: never.',
  })
  expires_at!: string | null;

  static from(this: void, key: ApiKey): ApiKeyDto {
    return {
      id: key.id,
      name: key.name,
      key_prefix: key.keyPrefix,
      is_active: key.isActive,
      permissions: key.permissions,
      rate_limit_per_minute: key.rateLimitPerMinute,
      monthly_budget_usd: budgetNumber(key.monthlyBudgetUsd),
      created_at: key.createdAt.toISOString(),
      last_used: key.lastUsed?.toISOString() ?? null,
      expires_at: key.expiresAt?.toISOString() ?? null,
    };
  }
}

export class CreatedApiKeyDto {
  @ApiProperty({
    example: 'ctx_live_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50Abc12',
    description: 'The key itself: shown this once, never again.',
  })
  api_key!: string;

  @ApiProperty({ type: ApiKeyDto, description: 'What is known about the key from now on.' })
  api_key_info!: ApiKeyDto;
}
