import { ApiProperty } from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';
import { ApiKeyDto } from '../api-keys/api-key.dto';
import { SessionDto } from '../auth/sessions.dto';
import { BillingEventDto } from '../billing/billing.dto';
import { OwnEventDto } from '../platform/audit/audit.dto';
import type { UsageLog } from '../usage/usage-log.entity';
import { UserDto } from '../users/users.dto';

const PASSWORD_CHARS_MAX = 1_024;

export class EraseAccountDto {
  @ApiProperty({
    maxLength: PASSWORD_CHARS_MAX,
    example: 'correct horse battery staple',
    description: 'The current password.',
  })
  @IsString()
  @MaxLength(PASSWORD_CHARS_MAX)
  password!: string;
}

export class ExportedCallDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Id of the call.',
  })
  id!: string;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b40',
    description: 'The API key it was made with.',
  })
  api_key_id!: string | null;

  @ApiProperty({ example: 'generate', description: 'What was called.' })
  operation!: string;

  @ApiProperty({ type: String, nullable: true, example: 'openai', description: 'Who answered.' })
  provider!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'gpt-6-luna', description: 'The model.' })
  model!: string | null;

  @ApiProperty({ type: 'integer', example: 8, description: 'Tokens of the input.' })
  input_tokens!: number;

  @ApiProperty({ type: 'integer', example: 17, description: 'Tokens of the answer.' })
  output_tokens!: number;

  @ApiProperty({
    example: '0.000009300',
    description: 'Price in US dollars, exact.',
  })
  cost_usd!: string;

  @ApiProperty({
    type: String,
    nullable: true,
    example: '203.0.113.7',
    description: 'Where the call came from.',
  })
  ip_address!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: 'my backend/1.0',
    description: 'What the caller called itself.',
  })
  user_agent!: string | null;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    example: { path: '/api/v1/generate', method: 'POST', status_code: 200, end_user: 'customer-42' },
    description: 'What else is kept of the request.',
  })
  metadata!: object;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z', description: 'When it came.' })
  created_at!: string;

  static from(this: void, line: UsageLog): ExportedCallDto {
    return {
      id: line.id,
      api_key_id: line.apiKeyId,
      operation: line.operation,
      provider: line.provider,
      model: line.model,
      input_tokens: line.inputTokens,
      output_tokens: line.outputTokens,
      cost_usd: line.costUsd,
      ip_address: line.ipAddress,
      user_agent: line.userAgent,
      metadata: line.metadata,
      created_at: line.createdAt.toISOString(),
    };
  }
}

export class ExportedUsageDto {
  @ApiProperty({ type: 'integer', example: 120, description: 'Answered metered calls, ever.' })
  total_requests!: number;

  @ApiProperty({ type: 'integer', example: 34_567, description: 'Tokens, ever.' })
  total_tokens!: number;

  @ApiProperty({ example: '3.456700000', description: 'Cost in US dollars, ever, exact.' })
  total_cost_usd!: string;

  @ApiProperty({ type: [ExportedCallDto], description: 'Every call, newest first.' })
  calls!: ExportedCallDto[];
}

export class ExportedBillingEventDto extends BillingEventDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: '{"type":"subscription.active","data":{}}',
    description: 'What the billing provider said, as it said it.',
  })
  payload!: string | null;
}

/** Everything that is kept about a person. */
export class AccountExportDto {
  @ApiProperty({
    format: 'date-time',
    example: '2026-01-31T12:00:00.000Z',
    description: 'When the export was asked for.',
  })
  exported_at!: string;

  @ApiProperty({ type: UserDto, description: 'The account.' })
  account!: UserDto;

  @ApiProperty({ type: [SessionDto], description: 'Where you are logged in.' })
  sessions!: SessionDto[];

  @ApiProperty({
    type: [ApiKeyDto],
    description: 'API keys, inactive ones too; the keys themselves are not kept.',
  })
  api_keys!: ApiKeyDto[];

  @ApiProperty({ type: ExportedUsageDto, description: 'What was used.' })
  usage!: ExportedUsageDto;

  @ApiProperty({
    type: [ExportedBillingEventDto],
    description: 'What happened to subscription and orders, newest first.',
  })
  billing_events!: ExportedBillingEventDto[];

  @ApiProperty({ type: [OwnEventDto], description: 'Security events of the account, newest first.' })
  audit!: OwnEventDto[];
}
