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
import { ProfileDto } from '../users/users.dto';

const PASSWORD_LENGTH_MIN = 8;
const PASSWORD_LENGTH_MAX = 128;
/** Of UTF-16 units: whatever is longer is not looked at, for Unicode forms take quadratic time of some texts. */
const PASSWORD_UNITS_MAX = 1_024;

/** Lengths are counted in code points, as people count (NIST SP 800-63B, 3.1.1.2), of the text as it is sent and as it is hashed. */
@ValidatorConstraint({ name: 'passwordLength' })
class PasswordLength implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    if (typeof value !== 'string' || value.length > PASSWORD_UNITS_MAX) return false;
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
  validate(value: unknown, { object, constraints }: ValidationArguments): boolean {
    return value === (object as Record<string, unknown>)[String(constraints[0])];
  }

  defaultMessage({ constraints }: ValidationArguments): string {
    return `must be the same as ${String(constraints[0])}`;
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
  @Validate(SameAsPassword, ['password'])
  confirm_password?: string;
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

  @ApiPropertyOptional({
    format: 'password',
    example: 'AnotherPassword456!',
    description: 'The new password once more, when a form asks for it twice.',
  })
  @Optional()
  @Validate(SameAsPassword, ['new_password'])
  confirm_password?: string;
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

export class MailedTokenDto {
  @ApiProperty({ ...tokenProperty })
  @IsString()
  @MaxLength(512)
  token!: string;
}

export class ChangeEmailDto {
  @ApiProperty({
    format: 'email',
    maxLength: 254,
    example: 'new-address@example.com',
    description: 'The new address; a link is mailed there.',
  })
  @CanonicalEmail()
  new_email!: string;

  @ApiProperty({
    format: 'password',
    maxLength: 1024,
    example: 'SecurePassword123!',
    description: 'The password of the account.',
  })
  @IsString()
  @MaxLength(1024)
  current_password!: string;
}

export class ConfirmResetDto extends MailedTokenDto {
  @ApiProperty({ ...passwordProperty, description: 'The new password: any characters, 8 to 128 of them.' })
  @Validate(PasswordLength)
  new_password!: string;
}
