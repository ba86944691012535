import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import {
  IsString,
  Matches,
  MaxLength,
  Validate,
  type ValidationArguments,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { Optional } from '../common/optional';
import { CanonicalEmail } from '../users/canonical-email';
import { ProfileDto, UserDto } from '../users/users.dto';
import type { Login } from './login.service';
import { RefreshResultDto } from './sessions.dto';

const PASSWORD_LENGTH_MIN = 8;
const PASSWORD_LENGTH_MAX = 128;
const ENROL_AGAIN =
  'A backup code was used. If your phone is lost, set up two-factor authentication on another one.';

/** Lengths are counted in code points, as people count (NIST SP 800-63B, 3.1.1.2), of the text as it is sent and as it is hashed. */
@ValidatorConstraint({ name: 'passwordLength' })
class PasswordLength implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    if (typeof value !== 'string') return false;
    return [value, value.normalize('NFKC')].every((text) => {
      const { length } = [...text];
      return length >= PASSWORD_LENGTH_MIN && length <= PASSWORD_LENGTH_MAX;
    });
  }

  defaultMessage(): string {
    return `must be ${PASSWORD_LENGTH_MIN} to ${PASSWORD_LENGTH_MAX} characters long`;
  }
}

@ValidatorConstraint({ name: 'sameAsPassword' })
class SameAsPassword implements ValidatorConstraintInterface {
  validate(value: unknown, { object }: ValidationArguments): boolean {
    return value === (object as { password?: unknown }).password;
  }

  defaultMessage(): string {
    return 'must be the same as password';
  }
}

export class RegisterDto extends ProfileDto {
  @ApiProperty({
    format: 'email',
    maxLength: 254,
    example: 'user@example.com',
    description: 'E-mail address; it is the name you log in with.',
  })
  @CanonicalEmail()
  email!: string;

  @ApiProperty({
    format: 'password',
    minLength: PASSWORD_LENGTH_MIN,
    maxLength: PASSWORD_LENGTH_MAX,
    example: 'SecurePassword123!',
    description: 'Any characters, 8 to 128 of them.',
  })
  @Validate(PasswordLength)
  password!: string;

  @ApiPropertyOptional({
    format: 'password',
    example: 'SecurePassword123!',
    description: 'The password once more, when a form asks for it twice.',
  })
  @Optional()
  @Validate(SameAsPassword)
  confirm_password?: string;
}

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

export class EmailDto {
  @ApiProperty({
    format: 'email',
    maxLength: 254,
    example: 'user@example.com',
    description: 'E-mail address.',
  })
  @CanonicalEmail()
  email!: string;
}

const passwordProperty = {
  format: 'password',
  minLength: PASSWORD_LENGTH_MIN,
  maxLength: PASSWORD_LENGTH_MAX,
  example: 'AnotherPassword456!',
} as const;

export class ChangePasswordDto {
  @ApiProperty({
    format: 'password',
    maxLength: 1024,
    example: 'SecurePassword123!',
    description: 'The password so far.',
  })
  @IsString()
  @MaxLength(1024)
  current_password!: string;

  @ApiProperty({ ...passwordProperty, description: 'The new password: any characters, 8 to 128 of them.' })
  @Validate(PasswordLength)
  new_password!: string;
}

const tokenProperty = {
  type: String,
  maxLength: 512,
  example: 'AZqfDnw6e36dVQ6PWhwrPSn1c1V0b2tlbi1mcm9tLXRoZS1tYWls',
  description: 'The token of the mailed link.',
} as const;

export class VerificationTokenDto {
  @ApiPropertyOptional(tokenProperty)
  @Optional()
  @IsString()
  @MaxLength(512)
  token?: string;
}

/** A token, or an address with its code. */
export class VerifyEmailDto extends VerificationTokenDto {
  @ApiPropertyOptional({
    format: 'email',
    maxLength: 254,
    example: 'user@example.com',
    description: 'The address to be proven; with `code`.',
  })
  @Optional()
  @CanonicalEmail()
  email?: string;

  @ApiPropertyOptional({
    type: String,
    pattern: '^[0-9]{6}$',
    example: '042917',
    description: 'The six digits of the mail.',
  })
  @Optional()
  @Matches(/^[0-9]{6}$/, { message: 'must be the six digits of the mail' })
  code?: string;
}

export class ConfirmResetDto {
  @ApiProperty({ ...tokenProperty })
  @IsString()
  @MaxLength(512)
  token!: string;

  @ApiProperty({ ...passwordProperty, description: 'The new password: any characters, 8 to 128 of them.' })
  @Validate(PasswordLength)
  new_password!: string;
}
