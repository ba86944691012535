import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsIn,
  IsObject,
  Matches,
  ValidateNested,
} from 'class-validator';
import { CreateApiKeyDto, toSettings } from '../api-keys/api-keys.dto';
import type { ForeignKey, ImportOutcome } from '../api-keys/key-import.service';
import { servicePermissions } from '../common/service-permissions';
import { CanonicalEmail, EMAIL_LENGTH_MAX } from '../users/canonical-email';

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';
/** One transaction has to be over within the 15 seconds that an Idempotency-Key is claimed for. */
const KEYS_MAX = 100;
const HEX_LENGTH = 64;
const HASH_PATTERN = /^(?:[0-9a-fA-F]{64}|[A-Za-z0-9_-]{43}=?)$/;
const PREFIX_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.:-]{2,31}$/;
const importStatuses = ['created', 'duplicate', 'conflict', 'invalid'] as const;

export class ServicePermissionsDto {
  @ApiProperty({
    type: [String],
    enum: servicePermissions,
    uniqueItems: true,
    example: ['keys:verify'],
    description: 'All that the key shall have; empty takes them away.',
  })
  @IsArray()
  @ArrayUnique()
  @IsIn(servicePermissions, { each: true })
  service_permissions!: string[];
}

export class ImportedKeyDto extends CreateApiKeyDto {
  @ApiProperty({
    format: 'email',
    maxLength: EMAIL_LENGTH_MAX,
    example: 'user@example.com',
    description: 'The account that gets the key.',
  })
  @CanonicalEmail()
  email!: string;

  @ApiProperty({
    pattern: HASH_PATTERN.source,
    example: '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae',
    description: 'SHA-256 of the whole key, in hex or base64url.',
  })
  @Matches(HASH_PATTERN, { message: 'must be a SHA-256, in hex or base64url' })
  key_hash!: string;

  @ApiProperty({
    pattern: PREFIX_PATTERN.source,
    example: 'sk_live_a1B2',
    description: 'What the key begins with: shown to its owner, and never more than 32 characters.',
  })
  @Matches(PREFIX_PATTERN, {
    message: 'must be 3 to 32 letters, digits and _ . : - that begin with a letter or digit',
  })
  key_prefix!: string;

  toForeignKey(): ForeignKey {
    const { email, key_hash: hash, key_prefix: prefix, name, environment = 'live' } = this;
    const hex =
      hash.length === HEX_LENGTH ? hash.toLowerCase() : Buffer.from(hash, 'base64url').toString('hex');
    return { email, hash: hex, prefix, settings: { ...toSettings(this), name, environment } };
  }
}

export class ImportKeysDto {
  @ApiProperty({
    type: [ImportedKeyDto],
    minItems: 1,
    maxItems: KEYS_MAX,
    example: [
      {
        email: 'user@example.com',
        name: 'Production',
        key_hash: '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae',
        key_prefix: 'sk_live_a1B2',
      },
    ],
    description: 'The keys to take over.',
  })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(KEYS_MAX)
  @IsObject({ each: true, message: 'must be a list of objects' })
  @ValidateNested({ each: true })
  @Type(() => ImportedKeyDto)
  keys!: ImportedKeyDto[];
}

export class ImportResultDto {
  @ApiProperty({
    enum: importStatuses,
    example: 'created',
    description:
      '`created`: it works from now on; `duplicate`: its owner has it here already; `conflict`: another account has it; `invalid`: it cannot be taken, `code` says why.',
  })
  status!: (typeof importStatuses)[number];

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    example: ID,
    description: 'Id of the key here.',
  })
  api_key_id!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'Why it is invalid: a code of the list of errors.',
  })
  code!: string | null;

  @ApiProperty({ type: String, nullable: true, example: null, description: 'The same in words.' })
  detail!: string | null;

  static from(this: void, outcome: ImportOutcome): ImportResultDto {
    const reason = outcome.status === 'invalid' ? outcome.reason : null;
    return {
      status: outcome.status,
      api_key_id: 'apiKeyId' in outcome ? outcome.apiKeyId : null,
      code: reason?.code ?? null,
      detail: reason?.message ?? null,
    };
  }
}

export class ImportResultsDto {
  @ApiProperty({ type: [ImportResultDto], description: 'One for each key, in their order.' })
  results!: ImportResultDto[];
}
