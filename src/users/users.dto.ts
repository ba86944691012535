import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, IsString, MaxLength } from 'class-validator';
import { type Tier, tiers } from '../common/principal';
import type { User } from './user.entity';

export class UserDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Id of the account.',
  })
  id!: string;

  @ApiProperty({ format: 'email', example: 'user@example.com', description: 'Address in canonical form.' })
  email!: string;

  @ApiProperty({ type: String, nullable: true, example: 'Ada', description: 'Given name.' })
  first_name!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'Lovelace', description: 'Family name.' })
  last_name!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'Analytical Engines', description: 'Company.' })
  company!: string | null;

  @ApiProperty({ example: false, description: 'Whether the address has been proven.' })
  is_verified!: boolean;

  @ApiProperty({ example: false, description: 'Whether log-in asks for a second factor.' })
  two_factor_enabled!: boolean;

  @ApiProperty({ enum: ['user', 'admin'], example: 'user', description: 'What the account may do.' })
  role!: User['role'];

  @ApiProperty({ enum: tiers, example: 'free', description: 'The tier in force.' })
  subscription_tier!: Tier;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:00.000Z',
    description: 'When the account was made.',
  })
  created_at!: string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'Last log-in.',
  })
  last_login!: string | null;

  static from(this: void, user: User): UserDto {
    return {
      id: user.id,
      email: user.email,
      first_name: user.firstName,
      last_name: user.lastName,
      company: user.company,
      is_verified: user.isVerified,
      two_factor_enabled: user.twoFactorEnabled,
      role: user.role,
      subscription_tier: user.tier,
      created_at: user.createdAt.toISOString(),
      last_login: user.lastLogin?.toISOString() ?? null,
    };
  }
}

/** The parts of a profile that its owner may set; null or an empty text clears one. */
export class ProfileDto {
  @ApiPropertyOptional({
    type: String,
    nullable: true,
    maxLength: 100,
    example: 'Ada',
    description: 'Given name.',
  })
  @IsOptional()
  @IsString()
  @MaxLength(100)
  first_name?: string | null;

  @ApiPropertyOptional({
    type: String,
    nullable: true,
    maxLength: 100,
    example: 'Lovelace',
    description: 'Family name.',
  })
  @IsOptional()
  @IsString()
  @MaxLength(100)
  last_name?: string | null;

  @ApiPropertyOptional({
    type: String,
    nullable: true,
    maxLength: 255,
    example: 'Analytical Engines',
    description: 'Company.',
  })
  @IsOptional()
  @IsString()
  @MaxLength(255)
  company?: string | null;
}
