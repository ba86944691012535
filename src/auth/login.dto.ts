import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';
import { Optional } from '../common/optional';
import { CanonicalEmail } from '../users/canonical-email';
import { UserDto } from '../users/users.dto';
import type { Login } from './login.service';
import { RefreshResultDto } from './sessions.dto';

const ENROL_AGAIN =
  'A backup code was used. If your phone is lost, set up two-factor authentication on another one.';

export class LoginDto {
  @ApiProperty({ format: 'email', example: 'user@example.com', description: 'E-mail address.' })
  @CanonicalEmail()
  email!: string;

  // No least length: what a wrong password looks like must not matter.
  @ApiProperty({
    format: 'password',
    maxLength: 1024,
    example: 'SecurePassword123!',
    description: 'Password.',
  })
  @IsString()
  @MaxLength(1024)
  password!: string;

  @ApiPropertyOptional({
    maxLength: 64,
    example: '492039',
    description: 'With two-factor authentication on: a code of the authenticator app, or a backup code.',
  })
  @Optional()
  @IsString()
  @MaxLength(64)
  two_factor_code?: string;

  @ApiPropertyOptional({
    maxLength: 512,
    example: 'AZqfDnw6e36dVQ6PWhwrPSn1c1V0b2tlbi1mb3ItdGhlLWRldmljZQ',
    description: 'The device_token of an earlier log-in from this device.',
  })
  @Optional()
  @IsString()
  @MaxLength(512)
  device_token?: string;
}

export class LoginResultDto extends RefreshResultDto {
  @ApiProperty({
    example: 'AZqfDnw6e36dVQ6PWhwrPSn1c1V0b2tlbi1mb3ItdGhlLWRldmljZQ',
    description: 'Send it with the next log-in from this device: an attacker cannot lock that one out.',
  })
  device_token!: string;

  @ApiProperty({ type: UserDto, description: 'Who logged in.' })
  user!: UserDto;

  @ApiPropertyOptional({
    example: 9,
    type: 'integer',
    description:
      'After a log-in with a backup code: how many are left. If the phone is lost, set up another with POST /auth/2fa/setup and /enable, within 10 minutes.',
  })
  backup_codes_left?: number;

  @ApiPropertyOptional({
    example:
      'A backup code was used. If your phone is lost, set up two-factor authentication on another one.',
    description: 'What to tell the user, when there is something.',
  })
  message?: string;

  static fromLogin(this: void, login: Login): LoginResultDto {
    return Object.assign(RefreshResultDto.from(login), {
      device_token: login.deviceToken,
      user: UserDto.from(login.user),
      ...(login.backupCodesLeft !== undefined && {
        backup_codes_left: login.backupCodesLeft,
        message: ENROL_AGAIN,
      }),
    });
  }
}
