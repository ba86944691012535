import { ApiProperty, ApiPropertyOptional, PickType } from '@nestjs/swagger';
import { IsInt, Max, Min } from 'class-validator';
import { UsageEventDto } from './usage-events.dto';

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';
const SECONDS_MAX = 3_600;
const SECONDS_DEFAULT = 300;

/** The tokens are the most that the call can take. */
export class OpenHoldDto extends PickType(UsageEventDto, [
  'operation',
  'user_id',
  'api_key_id',
  'provider',
  'model',
  'input_tokens',
  'output_tokens',
] as const) {
  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: SECONDS_MAX,
    default: SECONDS_DEFAULT,
    example: 60,
    description: 'How long the call can take at most: then the hold is let go of by itself.',
  })
  @IsInt()
  @Min(1)
  @Max(SECONDS_MAX)
  expires_in_seconds: number = SECONDS_DEFAULT;
}

/** What the call did take. */
export class SettleHoldDto extends PickType(UsageEventDto, [
  'input_tokens',
  'output_tokens',
  'cached_tokens',
  'end_user',
  'metadata',
] as const) {}

export class HoldDto {
  @ApiProperty({ format: 'uuid', example: ID, description: 'By which it is settled or released.' })
  id!: string;

  @ApiProperty({ type: 'integer', example: 350, description: 'Tokens that are set aside.' })
  held_tokens!: number;

  @ApiProperty({ example: 0.035, description: 'US dollars that are set aside.' })
  held_usd!: number;

  @ApiProperty({
    format: 'date-time',
    example: '2026-11-22T05:31:00.000Z',
    description: 'When it is let go of by itself.',
  })
  expires_at!: string;
}

export class SettledHoldDto {
  @ApiProperty({
    enum: ['created', 'duplicate'],
    example: 'created',
    description: '`created`: booked now. `duplicate`: was booked before, just so.',
  })
  status!: 'created' | 'duplicate';

  @ApiProperty({ format: 'uuid', example: ID, description: 'Its line in the usage log.' })
  line_id!: string;
}
