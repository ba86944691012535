import { ApiPropertyOptional, IntersectionType } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsIn, IsOptional, IsString, IsUUID, Length, registerDecorator } from 'class-validator';
import { PageQueryDto } from '../../common/pagination';
import { IsTimestamp } from '../../common/timestamp';
import { granularities, type Granularity, isTimeZone } from './calendar';
import type { UsageFilter } from './usage-filter';
import { type GroupBy, groupings } from './usage-timeseries';

const NAME_LENGTH_MAX = 200;

/** Which usage is meant: all that is given must fit. */
export class UsageFilterDto {
  @ApiPropertyOptional({
    format: 'date-time',
    example: '2026-11-01T00:00:00Z',
    description: 'The first moment that counts.',
  })
  @IsOptional()
  @IsTimestamp()
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    example: '2026-12-01T00:00:00Z',
    description: 'The first moment that does not count any more.',
  })
  @IsOptional()
  @IsTimestamp()
  to?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    example: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    description: 'Calls with this API key.',
  })
  @IsOptional()
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value))
  @IsUUID()
  api_key_id?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: NAME_LENGTH_MAX,
    example: 'generate',
    description: 'Calls of this operation.',
  })
  @IsOptional()
  @IsString()
  @Length(1, NAME_LENGTH_MAX)
  operation?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: NAME_LENGTH_MAX,
    example: 'openai',
    description: 'Calls that this provider served.',
  })
  @IsOptional()
  @IsString()
  @Length(1, NAME_LENGTH_MAX)
  provider?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: NAME_LENGTH_MAX,
    example: 'gpt-5-mini',
    description: 'Calls that this model served.',
  })
  @IsOptional()
  @IsString()
  @Length(1, NAME_LENGTH_MAX)
  model?: string;
}

export class UsageLogsQueryDto extends IntersectionType(PageQueryDto, UsageFilterDto) {}

export class TimeseriesQueryDto extends UsageFilterDto {
  @ApiPropertyOptional({
    enum: granularities,
    default: 'day',
    example: 'day',
    description:
      'How long a bucket is. A series by the hour spans at most 31 days, by the day 366, by the month 1,096.',
  })
  @IsOptional()
  @IsIn(granularities)
  granularity?: Granularity;

  @ApiPropertyOptional({
    enum: groupings,
    example: 'model',
    description: 'What each bucket is broken down by; absent: nothing.',
  })
  @IsOptional()
  @IsIn(groupings)
  group_by?: GroupBy;

  @ApiPropertyOptional({
    type: String,
    default: 'UTC',
    example: 'Europe/Berlin',
    description: 'The time zone whose days and months these are: a name of the IANA database.',
  })
  @IsOptional()
  @IsTimeZone()
  time_zone?: string;
}

export function toUsageFilter(query: UsageFilterDto): UsageFilter {
  return {
    apiKeyId: query.api_key_id,
    operation: query.operation,
    provider: query.provider,
    model: query.model,
    from: query.from === undefined ? undefined : new Date(query.from),
    to: query.to === undefined ? undefined : new Date(query.to),
  };
}

function IsTimeZone(): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name: 'isTimeZone',
      target: target.constructor,
      propertyName: property as string,
      validator: {
        validate: isTimeZone,
        defaultMessage: () => 'must be a time zone of the IANA database, such as Europe/Berlin',
      },
    });
  };
}
