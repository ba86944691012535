import { ApiProperty } from '@nestjs/swagger';
import { PaginationDto } from '../../common/pagination';
import type { UsageLine } from './usage-lines';

export class UsageLogDto {
  @ApiProperty({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'The `request_id` of the call.',
  })
  id!: string;

  @ApiProperty({ format: 'date-time', example: '2026-11-22T05:26:00.000Z', description: 'When it began.' })
  created_at!: string;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b40',
    description: 'The key it was made with.',
  })
  api_key_id!: string | null;

  @ApiProperty({ example: 'generate', description: 'What was called.' })
  operation!: string;

  @ApiProperty({ type: String, nullable: true, example: 'openai', description: 'Who served it.' })
  provider!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'gpt-5-mini', description: 'What served it.' })
  model!: string | null;

  @ApiProperty({ type: 'integer', example: 120, description: 'Tokens that were sent.' })
  input_tokens!: number;

  @ApiProperty({ type: 'integer', example: 230, description: 'Tokens that were answered.' })
  output_tokens!: number;

  @ApiProperty({ type: 'integer', example: 350, description: 'Tokens that count.' })
  tokens_used!: number;

  @ApiProperty({ example: '0.035000000', description: 'Cost in US dollars, exactly.' })
  cost_usd!: string;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 200,
    description: 'The HTTP status of the answer; null: the call was reported by another service.',
  })
  status_code!: number | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: 'customer-7',
    description: 'Your own end user, as the call named him.',
  })
  end_user!: string | null;

  @ApiProperty({ type: String, nullable: true, example: '192.0.2.1', description: 'Where it came from.' })
  ip_address!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'my backend/1.0', description: 'By which program.' })
  user_agent!: string | null;

  static from(this: void, line: UsageLine): UsageLogDto {
    return {
      id: line.id,
      created_at: line.created_at.toISOString(),
      api_key_id: line.api_key_id,
      operation: line.operation,
      provider: line.provider,
      model: line.model,
      input_tokens: line.input_tokens,
      output_tokens: line.output_tokens,
      tokens_used: line.tokens_used,
      cost_usd: line.cost_usd,
      status_code: line.metadata.status_code ?? null,
      end_user: line.metadata.end_user ?? null,
      ip_address: line.ip_address,
      user_agent: line.user_agent,
    };
  }
}

export class UsageLogsDto {
  @ApiProperty({ type: [UsageLogDto], description: 'The latest call first.' })
  data!: UsageLogDto[];

  @ApiProperty({ type: PaginationDto, description: 'How the list goes on.' })
  pagination!: PaginationDto;
}
