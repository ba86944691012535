import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { ArrayMaxSize, IsIn, IsInt, IsOptional, IsString, IsUUID, Length, Max, Min } from 'class-validator';
import { budgetColumn, BudgetField, NOT_THE_INVOICE } from '../common/budget';
import { IdDto } from '../common/id.dto';
import { AreIpRanges } from '../common/ip-list';
import { IsMapOf } from '../common/map-of';
import { Optional } from '../common/optional';
import { type Environment, environments } from '../common/principal';
import { IsTimestamp } from '../common/timestamp';
import type { KeySettings } from './key-making';

const RATE_LIMIT_MAX = 2_147_483_647;
const ADDRESSES_MAX = 100;
const NOTES_MAX = 50;
const NOTE_LENGTH_MAX = 500;
const OVERLAP_HOURS_MAX = 720;
const OVERLAP_HOURS_DEFAULT = 24;

class KeySettingsDto {
  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: { type: 'boolean' },
    example: { read: true, generate: true },
    description:
      'What the key may do: an empty object (the default) allows every ordinary operation, else only those set to true.',
  })
  @Optional()
  @IsMapOf('boolean', { entriesMax: 64 })
  permissions?: Record<string, boolean>;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: RATE_LIMIT_MAX,
    example: 100,
    description: 'Most requests in any 60 seconds; the plan sets the ceiling. Default: 100.',
  })
  @Optional()
  @IsInt()
  @Min(1)
  @Max(RATE_LIMIT_MAX)
  rate_limit_per_minute?: number;

  @BudgetField(
    `Refuses calls once the usage cost of the key in this calendar month (UTC) would pass this many US dollars; null (the default): no cap. ${NOT_THE_INVOICE}`,
  )
  monthly_budget_usd?: number | null;

  @ApiPropertyOptional({
    type: String,
    format: 'date-time',
    nullable: true,
    example: '2030-01-01T00:00:00Z',
    description: 'When the key stops working, with a time zone; null (the default): never.',
  })
  @IsOptional()
  @IsTimestamp()
  expires_at?: string | null;

  @ApiPropertyOptional({
    type: [String],
    maxItems: ADDRESSES_MAX,
    example: ['203.0.113.0/24', '2001:db8::/48'],
    description: 'Addresses and CIDR ranges that may use the key; empty (the default): all.',
  })
  @Optional()
  @AreIpRanges()
  @ArrayMaxSize(ADDRESSES_MAX)
  allowed_ips?: string[];

  @ApiPropertyOptional({
    type: 'object',
    maxProperties: NOTES_MAX,
    additionalProperties: { type: 'string', maxLength: NOTE_LENGTH_MAX },
    example: { team: 'search' },
    description: 'Notes of your own; backends that verify the key see them.',
  })
  @Optional()
  @IsMapOf('string', { entriesMax: NOTES_MAX, lengthMax: NOTE_LENGTH_MAX })
  metadata?: Record<string, string>;
}

export class CreateApiKeyDto extends KeySettingsDto {
  @ApiProperty({ minLength: 1, maxLength: 255, example: 'My API Key', description: 'To tell keys apart.' })
  @IsString()
  @Length(1, 255)
  name!: string;

  @ApiPropertyOptional({
    enum: environments,
    example: 'live',
    description:
      'A label that stands in the key itself, `ctx_live_` (the default) or `ctx_test_`; both kinds may do the same.',
  })
  @Optional()
  @IsIn(environments)
  environment?: Environment;
}

export class ChangeApiKeyDto extends KeySettingsDto {
  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 255,
    example: 'My key',
    description: 'To tell keys apart.',
  })
  @Optional()
  @IsString()
  @Length(1, 255)
  name?: string;
}

export class RotateApiKeyDto {
  @ApiPropertyOptional({
    type: 'integer',
    minimum: 0,
    maximum: OVERLAP_HOURS_MAX,
    default: OVERLAP_HOURS_DEFAULT,
    example: 24,
    description: 'So long the old secret goes on working, in hours; 0: it ends at once.',
  })
  @Optional()
  @IsInt()
  @Min(0)
  @Max(OVERLAP_HOURS_MAX)
  overlap_hours: number = OVERLAP_HOURS_DEFAULT;
}

/** The `{id}` and `{version_id}` of a path. */
export class VersionIdDto extends IdDto {
  @ApiProperty({ format: 'uuid', description: 'Id of a secret, as the key shows it in `versions`.' })
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value))
  @IsUUID()
  version_id!: string;
}

/** What a body says about a key; what it leaves out is left out. */
export function toSettings(body: ChangeApiKeyDto): Partial<KeySettings> {
  return {
    ...(body.name !== undefined && { name: body.name }),
    ...(body.permissions !== undefined && { permissions: body.permissions }),
    ...(body.rate_limit_per_minute !== undefined && { rateLimitPerMinute: body.rate_limit_per_minute }),
    ...(body.monthly_budget_usd !== undefined && {
      monthlyBudgetUsd: budgetColumn(body.monthly_budget_usd),
    }),
    ...(body.allowed_ips !== undefined && { allowedIps: body.allowed_ips }),
    ...(body.metadata !== undefined && { metadata: body.metadata }),
    ...(body.expires_at !== undefined && {
      expiresAt: body.expires_at === null ? null : new Date(body.expires_at),
    }),
  };
}
