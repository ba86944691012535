import { ApiProperty, ApiPropertyOptional, OmitType } from '@nestjs/swagger';
import { IsOptional, Length } from 'class-validator';
import { UsdField } from '../common/budget';
import { PaginationDto } from '../common/pagination';
import { Optional } from '../common/optional';
import { IsTimestamp } from '../common/timestamp';
import type { Price } from '../usage/price.entity';

const NAME_CHARS_MAX = 128;

export class NewPriceDto {
  @ApiProperty({
    minLength: 1,
    maxLength: NAME_CHARS_MAX,
    example: 'generate',
    description: 'The metered operation.',
  })
  @Length(1, NAME_CHARS_MAX)
  operation!: string;

  @ApiPropertyOptional({
    type: String,
    minLength: 1,
    maxLength: NAME_CHARS_MAX,
    nullable: true,
    example: 'openai',
    description: 'For this provider alone; absent or null: for all.',
  })
  @IsOptional()
  @Length(1, NAME_CHARS_MAX)
  provider?: string | null;

  @ApiPropertyOptional({
    type: String,
    minLength: 1,
    maxLength: NAME_CHARS_MAX,
    nullable: true,
    example: 'gpt-6-luna',
    description: 'For this model alone; absent or null: for all.',
  })
  @IsOptional()
  @Length(1, NAME_CHARS_MAX)
  model?: string | null;

  @UsdField('US dollars for a million input tokens.')
  input_usd_per_million!: number;

  @UsdField('US dollars for a million output tokens.')
  output_usd_per_million!: number;

  @UsdField(
    'US dollars for a million input tokens that the provider had in its cache. Default: as for input.',
    {
      isOptional: true,
    },
  )
  cached_usd_per_million?: number;

  @UsdField('US dollars for each call. Default: 0.', { isOptional: true })
  request_usd?: number;

  @ApiPropertyOptional({
    format: 'date-time',
    example: '2030-01-01T00:00:00Z',
    description:
      'When it comes into force. Default, and earliest: in five seconds, when every process knows it.',
  })
  @Optional()
  @IsTimestamp()
  effective_from?: string;
}

export class SimulatePriceDto extends OmitType(NewPriceDto, ['effective_from']) {
  @ApiProperty({
    format: 'date-time',
    example: '2026-01-01T00:00:00Z',
    description: 'The first moment that counts.',
  })
  @IsTimestamp()
  from!: string;

  @ApiProperty({
    format: 'date-time',
    example: '2026-02-01T00:00:00Z',
    description: 'The first moment that does not count any more; at most 31 days later.',
  })
  @IsTimestamp()
  to!: string;
}

export class PriceDto {
  @ApiProperty({
    type: 'integer',
    example: 3,
    description: 'Lines of the ledger name it; 0 is what calls cost without a price.',
  })
  version!: number;

  @ApiProperty({ example: 'generate', description: 'The metered operation.' })
  operation!: string;

  @ApiProperty({ type: String, nullable: true, example: 'openai', description: 'Null: every provider.' })
  provider!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'gpt-6-luna', description: 'Null: every model.' })
  model!: string | null;

  @ApiProperty({ example: 0.4, description: 'US dollars for a million input tokens.' })
  input_usd_per_million!: number;

  @ApiProperty({ example: 1.6, description: 'US dollars for a million output tokens.' })
  output_usd_per_million!: number;

  @ApiProperty({ example: 0.1, description: 'US dollars for a million cached input tokens.' })
  cached_usd_per_million!: number;

  @ApiProperty({ example: 0, description: 'US dollars for each call.' })
  request_usd!: number;

  @ApiProperty({
    format: 'date-time',
    example: '2026-01-01T00:00:05.000Z',
    description: 'In force from then on.',
  })
  effective_from!: string;

  @ApiProperty({
    type: String,
    format: 'date',
    nullable: true,
    example: null,
    description: 'The day of the list of public prices that it comes from; null: an admin set it.',
  })
  public_as_of!: string | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-01T00:00:00.000Z', description: 'When it was set.' })
  created_at!: string;

  static from(this: void, price: Price): PriceDto {
    return {
      version: price.version,
      operation: price.operation,
      provider: price.provider,
      model: price.model,
      input_usd_per_million: Number(price.inputUsdPerMillion),
      output_usd_per_million: Number(price.outputUsdPerMillion),
      cached_usd_per_million: Number(price.cachedUsdPerMillion),
      request_usd: Number(price.requestUsd),
      effective_from: price.effectiveFrom.toISOString(),
      public_as_of: price.publicAsOf,
      created_at: price.createdAt.toISOString(),
    };
  }
}

export class PricesDto {
  @ApiProperty({ type: [PriceDto], description: 'Newest first.' })
  data!: PriceDto[];

  @ApiProperty({ type: PaginationDto, description: 'How the list goes on.' })
  pagination!: PaginationDto;
}

export class SimulationDto {
  @ApiProperty({ type: 'integer', example: 1_234, description: 'Calls that the price would have been for.' })
  requests!: number;

  @ApiProperty({ example: 12.5, description: 'What they cost, in US dollars.' })
  cost_usd!: number;

  @ApiProperty({ example: 9.75, description: 'What they would have cost.' })
  simulated_cost_usd!: number;
}
