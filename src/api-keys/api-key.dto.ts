import { ApiProperty } from '@nestjs/swagger';
import { budgetNumber, NOT_THE_INVOICE } from '../common/budget';
import { type Environment, environments } from '../common/principal';
import type { ApiKeyVersion } from './api-key-version.entity';
import { isSafeToEnd } from './api-key-versions';
import type { ApiKeyWithVersions } from './key-making';

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';
const MOMENT = '2026-01-31T12:00:00.000Z';

export class ApiKeyVersionDto {
  @ApiProperty({ format: 'uuid', example: ID, description: 'Id of the secret.' })
  id!: string;

  @ApiProperty({ example: 'ctx_live_a1B2', description: 'The first 13 characters of the secret.' })
  key_prefix!: string;

  @ApiProperty({ example: true, description: 'True for the newest, which stays; the others end.' })
  is_current!: boolean;

  @ApiProperty({ format: 'date-time', example: MOMENT, description: 'When the secret was made.' })
  created_at!: string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'When an old secret ends; null: it ends with the key.',
  })
  expires_at!: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: MOMENT,
    description: 'The last request that showed this secret; null: none yet.',
  })
  last_used!: string | null;

  @ApiProperty({
    example: false,
    description: 'True for an old secret that was not used for an hour while the current one is in use.',
  })
  safe_to_end!: boolean;

  static from(
    this: void,
    version: ApiKeyVersion,
    all: readonly ApiKeyVersion[],
    now: Date,
  ): ApiKeyVersionDto {
    return {
      id: version.id,
      key_prefix: version.keyPrefix,
      is_current: version.expiresAt === null,
      created_at: version.createdAt.toISOString(),
      expires_at: version.expiresAt?.toISOString() ?? null,
      last_used: version.lastUsed?.toISOString() ?? null,
      safe_to_end: isSafeToEnd(version, all, now),
    };
  }
}

export class ApiKeyDto {
  @ApiProperty({ format: 'uuid', example: ID, description: 'Id of the key; a rotation does not change it.' })
  id!: string;

  @ApiProperty({ example: 'My API Key', description: 'To tell keys apart.' })
  name!: string;

  @ApiProperty({ example: 'ctx_live_a1B2', description: 'The first 13 characters of the current secret.' })
  key_prefix!: string;

  @ApiProperty({ enum: environments, example: 'live', description: 'The label that stands in the key.' })
  environment!: Environment;

  @ApiProperty({ example: true, description: 'False once deactivated, or reported as leaked.' })
  is_active!: boolean;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'boolean' },
    example: { read: true, generate: true },
    description: 'What the key may do; empty: every ordinary operation.',
  })
  permissions!: Record<string, boolean>;

  @ApiProperty({
    type: [String],
    example: [],
    description: 'What an admin has granted besides, to services of the operator.',
  })
  service_permissions!: string[];

  @ApiProperty({ type: 'integer', example: 100, description: 'Most requests in any 60 seconds.' })
  rate_limit_per_minute!: number;

  @ApiProperty({
    type: 'number',
    nullable: true,
    example: 25.5,
    description: `Refuses calls once the usage cost of the key in this calendar month (UTC) would pass this many US dollars; null: no cap. ${NOT_THE_INVOICE}`,
  })
  monthly_budget_usd!: number | null;

  @ApiProperty({
    type: [String],
    example: ['203.0.113.0/24'],
    description: 'Addresses and CIDR ranges that may use the key; empty: all.',
  })
  allowed_ips!: string[];

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    example: { team: 'search' },
    description: 'Notes of the owner.',
  })
  metadata!: Record<string, string>;

  @ApiProperty({ format: 'date-time', example: MOMENT, description: 'When the key was made.' })
  created_at!: string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'The last request that showed the key.',
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

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'When the key was reported as leaked, which ended it; null: never.',
  })
  compromised_at!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'The public address where it was found, if the report says so.',
  })
  leak_url!: string | null;

  @ApiProperty({
    type: [ApiKeyVersionDto],
    description: 'The secrets that still work, the current one first.',
  })
  versions!: ApiKeyVersionDto[];

  static from(this: void, key: ApiKeyWithVersions, now: Date): ApiKeyDto {
    const { versions } = key;
    return {
      id: key.id,
      name: key.name,
      key_prefix: versions[0]?.keyPrefix ?? '',
      environment: key.environment,
      is_active: key.isActive,
      permissions: key.permissions,
      service_permissions: key.servicePermissions,
      rate_limit_per_minute: key.rateLimitPerMinute,
      monthly_budget_usd: budgetNumber(key.monthlyBudgetUsd),
      allowed_ips: key.allowedIps,
      metadata: key.metadata,
      created_at: key.createdAt.toISOString(),
      last_used: key.lastUsed?.toISOString() ?? null,
      expires_at: key.expiresAt?.toISOString() ?? null,
      compromised_at: key.compromisedAt?.toISOString() ?? null,
      leak_url: key.leakUrl,
      versions: versions.map((version) => ApiKeyVersionDto.from(version, versions, now)),
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
