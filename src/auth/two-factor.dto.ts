import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';
import { Optional } from '../common/optional';
import type { Setup } from '../two-factor/two-factor.service';

const codeProperty = {
  type: String,
  maxLength: 64,
  example: '492039',
  description: 'A code of the authenticator app, or a backup code. It works once.',
} as const;

const passwordProperty = {
  format: 'password',
  maxLength: 1024,
  example: 'SecurePassword123!',
  description: 'Password.',
} as const;

export class TwoFactorCodeDto {
  @ApiProperty(codeProperty)
  @IsString()
  @MaxLength(64)
  code!: string;
}

export class PasswordAndCodeDto extends TwoFactorCodeDto {
  @ApiProperty(passwordProperty)
  @IsString()
  @MaxLength(1024)
  password!: string;
}

export class LoginSecondStepDto {
  @ApiProperty({
    maxLength: 512,
    example: '1795315044619.019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d.c2lnbmF0dXJlLW9mLXRoZS1jaGFsbGVuZ2U',
    description: 'The challenge_token that the first step answered.',
  })
  @IsString()
  @MaxLength(512)
  challenge_token!: string;

  @ApiProperty(codeProperty)
  @IsString()
  @MaxLength(64)
  two_factor_code!: string;

  @ApiPropertyOptional({
    maxLength: 512,
    example: 'AZqfDnw6e36dVQ6PWhwrPSn1c1V0b2tlbi1mb3ItdGhlLWRldmljZQ',
    description: 'The device_token of an earlier log-in from this device, as in the first step.',
  })
  @Optional()
  @IsString()
  @MaxLength(512)
  device_token?: string;
}

export class TwoFactorSetupDto {
  @ApiProperty({ example: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', description: 'The secret, to be typed.' })
  secret!: string;

  @ApiProperty({
    example:
      'otpauth://totp/api.example.com%3Auser%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=api.example.com',
    description: 'What the QR code says.',
  })
  otpauth_url!: string;

  @ApiProperty({
    example: 'data:image/png;base64,iVBORw0KGgo=',
    description: 'A QR code to be scanned by an authenticator app: a PNG, as data URI.',
  })
  qr_code!: string;

  static from(this: void, { secret, otpauthUrl, qrCode }: Setup): TwoFactorSetupDto {
    return { secret, otpauth_url: otpauthUrl, qr_code: qrCode };
  }
}

export class BackupCodesDto {
  @ApiProperty({
    type: [String],
    example: ['4x8k-n2m7-p0qt'],
    description:
      'Ten codes for when the phone is lost, each for one use. They are told this once: keep them.',
  })
  backup_codes!: string[];
}

export class StopResetDto {
  @ApiProperty({
    maxLength: 512,
    example: 'AZqfDnw6e36dVQ6PWhwrPSn1c1V0b2tlbi1mcm9tLXRoZS1tYWls',
    description: 'The token of the mailed link.',
  })
  @IsString()
  @MaxLength(512)
  token!: string;
}
