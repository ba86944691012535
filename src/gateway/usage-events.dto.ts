import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, IsObject, IsString, IsUUID, Length, Matches, Max, Min, Validate } from 'class-validator';
import { CompiledInput } from '../common/compiled-input';
import { Optional } from '../common/optional';
import { IsTimestamp } from '../common/timestamp';
import { BoundedJson, METADATA_BYTES_MAX, OPERATION, OPERATION_RULE } from './reported';

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';
/** What the columns of the ledger take of one call. */
export const TOKENS_MAX = 2_147_483_647;
const NAME_LENGTH_MAX = 255;

const tokens = (description: string, example: number): PropertyDecorator =>
  ApiPropertyOptional({ type: 'integer', minimum: 0, maximum: TOKENS_MAX, default: 0, example, description });

/** What a call took that another service has served, and whom it is charged to. */
export class ServedCallDto {
  @ApiPropertyOptional({
    format: 'uuid',
    example: ID,
    description:
      'Whose call it is: the `user_id` that `POST /keys/verify` gave. May be left out with `api_key_id`.',
  })
  @Optional()
  @IsUUID()
  user_id?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    example: ID,
    description:
      'The key it was made with: the `key_id` that `POST /keys/verify` gave. It counts against its budget.',
  })
  @Optional()
  @IsUUID()
  api_key_id?: string;

  @ApiPropertyOptional({ minLength: 1, maxLength: 128, example: 'openai', description: 'Who served it.' })
  @Optional()
  @IsString()
  @Length(1, 128)
  provider?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 128,
    example: 'gpt-6-luna',
    description: 'What served it.',
  })
  @Optional()
  @IsString()
  @Length(1, 128)
  model?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: NAME_LENGTH_MAX,
    example: 'customer-42',
    description: "The customer's own end user; kept with the line.",
  })
  @Optional()
  @IsString()
  @Length(1, NAME_LENGTH_MAX)
  end_user?: string;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    example: { memories: 3 },
    description: `Anything you want to keep with it, at most ${METADATA_BYTES_MAX} bytes of JSON.`,
  })
  @Optional()
  @IsObject()
  @Validate(BoundedJson)
  metadata?: Record<string, unknown>;

  @tokens('Tokens that were sent, those of `cached_tokens` included.', 120)
  @IsInt()
  @Min(0)
  @Max(TOKENS_MAX)
  input_tokens: number = 0;

  @tokens('Tokens that were answered.', 230)
  @IsInt()
  @Min(0)
  @Max(TOKENS_MAX)
  output_tokens: number = 0;

  @tokens('Those of the input that the provider had in its cache.', 0)
  @IsInt()
  @Min(0)
  @Max(TOKENS_MAX)
  cached_tokens: number = 0;
}

@CompiledInput()
export class UsageEventDto extends ServedCallDto {
  @ApiProperty({
    pattern: OPERATION.source,
    example: 'memory.search',
    description: 'What was done; its price is looked up by this name. Of a CloudEvent it is the `type`.',
  })
  @Matches(OPERATION, { message: OPERATION_RULE })
  operation!: string;

  @ApiProperty({
    minLength: 1,
    maxLength: NAME_LENGTH_MAX,
    example: 'search-7f3a',
    description: 'Your name for this event: one `source` and `id` is booked once, for ever.',
  })
  @IsString()
  @Length(1, NAME_LENGTH_MAX)
  id!: string;

  @ApiPropertyOptional({
    maxLength: NAME_LENGTH_MAX,
    default: '',
    example: 'https://search.example.com',
    description: 'Which of your services reports it: ids of different sources are different.',
  })
  @IsString()
  @Length(0, NAME_LENGTH_MAX)
  source: string = '';

  @ApiPropertyOptional({
    format: 'date-time',
    example: '2026-11-22T05:26:00Z',
    description:
      'When it was done, at most `REPORT_AGE_DAYS_MAX` (31) days ago; absent: now. The prices of that moment hold.',
  })
  @Optional()
  @IsTimestamp()
  time?: string;
}

export const eventStatuses = ['created', 'duplicate', 'conflict', 'invalid'] as const;
export type EventStatus = (typeof eventStatuses)[number];

export class EventFaultDto {
  @ApiProperty({ example: 'input_tokens', description: 'Path of the field; empty: the event as a whole.' })
  field!: string;

  @ApiProperty({ example: 'must not be less than 0', description: 'What is wrong with it.' })
  message!: string;
}

export class EventResultDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'search-7f3a',
    description: 'The `id` that was sent; null: none.',
  })
  id!: string | null;

  @ApiProperty({
    enum: eventStatuses,
    example: 'created',
    description:
      '`created`: booked now. `duplicate`: was booked before, as it is. `conflict`: this `source` and `id` was booked before and said something else; nothing was changed. `invalid`: refused.',
  })
  status!: EventStatus;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    example: ID,
    description: 'Its line in the usage log, also where it was booked before; null: none.',
  })
  line_id!: string | null;

  @ApiProperty({ type: [EventFaultDto], description: 'Why it is `invalid`; else empty.' })
  errors!: EventFaultDto[];
}

export class EventReportDto {
  @ApiProperty({ type: 'integer', example: 1, description: 'How many were booked now.' })
  created!: number;

  @ApiProperty({ type: 'integer', example: 0, description: 'How many were booked before.' })
  duplicate!: number;

  @ApiProperty({ type: 'integer', example: 0, description: 'How many said something else than before.' })
  conflict!: number;

  @ApiProperty({ type: 'integer', example: 0, description: 'How many were refused.' })
  invalid!: number;

  @ApiProperty({ type: [EventResultDto], description: 'What became of each event, in their order.' })
  results!: EventResultDto[];

  static from(this: void, results: EventResultDto[]): EventReportDto {
    const count = (wanted: EventStatus): number => results.filter(({ status }) => status === wanted).length;
    return {
      created: count('created'),
      duplicate: count('duplicate'),
      conflict: count('conflict'),
      invalid: count('invalid'),
      results,
    };
  }
}
