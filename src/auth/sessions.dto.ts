import { ApiProperty } from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';
import type { Tokens } from './access-tokens';
import { type Session, sessionEnd } from './session.entity';

const REFRESH_TOKEN_EXAMPLE = '0.AZqfDnw6e36dVQ6PWhwrPSn1c1V0b2tlbi1mcm9tLWEtbG9nLWluLW9yLXJlZnJlc2g';

export class RefreshDto {
  @ApiProperty({
    maxLength: 512,
    example: REFRESH_TOKEN_EXAMPLE,
    description: 'The refresh token of the log-in or of the last refresh.',
  })
  @IsString()
  @MaxLength(512)
  refresh_token!: string;
}

export class RefreshResultDto {
  @ApiProperty({
    example: 'eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl',
    description: 'Send it as "Authorization: Bearer <token>".',
  })
  access_token!: string;

  @ApiProperty({
    enum: ['bearer'],
    example: 'bearer',
    description: 'How to send the access token (RFC 6750).',
  })
  token_type!: 'bearer';

  @ApiProperty({ type: 'integer', example: 1800, description: 'Life of the access token, in seconds.' })
  expires_in!: number;

  @ApiProperty({
    example: REFRESH_TOKEN_EXAMPLE,
    description: 'For `POST /auth/refresh`, once; it lives as long as the session.',
  })
  refresh_token!: string;

  static from(this: void, { accessToken, expiresInSeconds, refreshToken }: Tokens): RefreshResultDto {
    return {
      access_token: accessToken,
      token_type: 'bearer',
      expires_in: expiresInSeconds,
      refresh_token: refreshToken,
    };
  }
}

export class SessionDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Id of the session.',
  })
  id!: string;

  @ApiProperty({ example: true, description: 'Whether this is the session that asks.' })
  is_current!: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    example: '203.0.113.7',
    description: 'Address of the last log-in or refresh.',
  })
  ip_address!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: 'Mozilla/5.0',
    description: 'What the device called itself then.',
  })
  user_agent!: string | null;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:00.000Z',
    description: 'When the user logged in.',
  })
  created_at!: string;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:00.000Z',
    description: 'The log-in or the last refresh.',
  })
  last_used_at!: string;

  @ApiProperty({
    format: 'date-time',
    example: '2026-02-07T12:00:00.000Z',
    description: 'When the session ends unless it is refreshed.',
  })
  expires_at!: string;

  static from(this: void, session: Session, currentId: string): SessionDto {
    return {
      id: session.id,
      is_current: session.id === currentId,
      ip_address: session.ipAddress,
      user_agent: session.userAgent,
      created_at: session.createdAt.toISOString(),
      last_used_at: session.lastUsedAt.toISOString(),
      expires_at: sessionEnd(session).toISOString(),
    };
  }
}
