import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsIn, IsOptional, IsString, IsUUID, Length, ValidateIf } from 'class-validator';
import { PageQueryDto, PaginationDto } from '../common/pagination';
import { type Tier, tiers } from '../common/principal';
import { IsTimestamp } from '../common/timestamp';
import { type AuditAction, auditActionNames } from '../platform/audit/audit-actions';
import type { User } from '../users/user.entity';
import { UserDto } from '../users/users.dto';

const lowerCase = Transform(({ value }: { value: unknown }) =>
  typeof value === 'string' ? value.toLowerCase() : value,
);

export class UsersQueryDto extends PageQueryDto {
  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 254,
    example: 'ada@',
    description: 'A part of the e-mail address, or an id; absent: every account.',
  })
  @IsOptional()
  @IsString()
  @Length(1, 254)
  search?: string;
}

export class TierDto {
  @ApiProperty({
    type: String,
    enum: [...tiers, null],
    nullable: true,
    example: 'starter',
    description: 'Wins over what billing says; null: billing has the word again.',
  })
  @ValidateIf((_object, value) => value !== null)
  @IsIn(tiers)
  tier!: Tier | null;
}

export class AuditQueryDto extends PageQueryDto {
  @ApiPropertyOptional({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Events about this account, and those this user caused elsewhere.',
  })
  @IsOptional()
  @lowerCase
  @IsUUID()
  user_id?: string;

  @ApiPropertyOptional({ enum: auditActionNames, example: 'user.login', description: 'Events of one kind.' })
  @IsOptional()
  @IsIn(auditActionNames)
  action?: AuditAction;

  @ApiPropertyOptional({
    format: 'date-time',
    example: '2026-01-01T00:00:00Z',
    description: 'The first moment that counts.',
  })
  @IsOptional()
  @IsTimestamp()
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    example: '2026-02-01T00:00:00Z',
    description: 'The first moment that does not count any more.',
  })
  @IsOptional()
  @IsTimestamp()
  to?: string;
}

export class AdminUserDto extends UserDto {
  @ApiProperty({ example: true, description: 'False: suspended.' })
  is_active!: boolean;

  @ApiProperty({ enum: tiers, example: 'free', description: 'The tier that billing says.' })
  billing_tier!: Tier;

  @ApiProperty({
    type: String,
    enum: [...tiers, null],
    nullable: true,
    example: null,
    description: 'The tier that an admin set, which wins.',
  })
  tier_override!: Tier | null;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:00.000Z',
    description: 'When the account last changed.',
  })
  updated_at!: string;

  static override from(this: void, user: User): AdminUserDto {
    return Object.assign(UserDto.from(user), {
      is_active: user.isActive,
      billing_tier: user.billingTier,
      tier_override: user.tierOverride,
      updated_at: user.updatedAt.toISOString(),
    });
  }
}

export class AdminUsersDto {
  @ApiProperty({ type: [AdminUserDto], description: 'Newest first.' })
  data!: AdminUserDto[];

  @ApiProperty({ type: PaginationDto, description: 'How the list goes on.' })
  pagination!: PaginationDto;
}

export class TwoFactorResetDto {
  @ApiProperty({
    format: 'date-time',
    example: '2026-02-01T12:00:00.000Z',
    description:
      'From then on a log-in without a code turns the second factor off, unless its owner has stopped it.',
  })
  takes_effect_at!: string;

  static from(this: void, takesEffectAt: Date): TwoFactorResetDto {
    return { takes_effect_at: takesEffectAt.toISOString() };
  }
}
