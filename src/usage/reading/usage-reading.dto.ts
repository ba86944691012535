import { ApiProperty } from '@nestjs/swagger';
import { usdNumber } from '../../common/money';
import { granularities, type Granularity } from './calendar';
import type { Forecast } from './usage-forecast';
import {
  type Bucket,
  type GroupBy,
  groupings,
  GROUPS_MAX,
  type Timeseries,
  type TimeseriesQuery,
  type UsageAmount,
} from './usage-timeseries';

class UsageAmountDto {
  @ApiProperty({ type: 'integer', example: 120, description: 'Answered metered calls.' })
  requests!: number;

  @ApiProperty({ type: 'integer', example: 12_345, description: 'Tokens that were sent.' })
  input_tokens!: number;

  @ApiProperty({ type: 'integer', example: 23_456, description: 'Tokens that were answered.' })
  output_tokens!: number;

  @ApiProperty({ type: 'integer', example: 35_801, description: 'Both together.' })
  total_tokens!: number;

  @ApiProperty({ example: 3.5801, description: 'Cost in US dollars.' })
  cost_usd!: number;
}

export class UsageGroupDto extends UsageAmountDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'gpt-5-mini',
    description: 'The id of the key, or the name of what it is grouped by; null: calls without.',
  })
  name!: string | null;
}

export class UsageBucketDto extends UsageAmountDto {
  @ApiProperty({
    format: 'date-time',
    example: '2026-11-21T23:00:00.000Z',
    description: 'Where the bucket begins; it ends where the next one does.',
  })
  start!: string;

  @ApiProperty({
    type: [UsageGroupDto],
    description:
      'The costliest of the whole series first, as far as they were used here; empty without `group_by`.',
  })
  groups!: UsageGroupDto[];
}

export class TimeseriesDto {
  @ApiProperty({ enum: granularities, example: 'day', description: 'How long a bucket is.' })
  granularity!: Granularity;

  @ApiProperty({ example: 'Europe/Berlin', description: 'Whose days and months these are.' })
  time_zone!: string;

  @ApiProperty({
    type: String,
    enum: [...groupings, null],
    nullable: true,
    example: 'model',
    description: 'What the buckets are broken down by.',
  })
  group_by!: GroupBy | null;

  @ApiProperty({
    format: 'date-time',
    example: '2026-10-23T22:00:00.000Z',
    description: 'Where the first bucket begins.',
  })
  from!: string;

  @ApiProperty({
    format: 'date-time',
    example: '2026-11-22T23:00:00.000Z',
    description: 'Where the last bucket ends.',
  })
  to!: string;

  @ApiProperty({
    type: 'integer',
    example: 0,
    description: `Groups beyond the ${GROUPS_MAX} costliest: they are in the sums of the buckets, and not shown.`,
  })
  groups_omitted!: number;

  @ApiProperty({ type: [UsageBucketDto], description: 'Every bucket, empty ones too, oldest first.' })
  data!: UsageBucketDto[];

  static from(
    this: void,
    { from, to, buckets, groupsOmitted }: Timeseries,
    query: TimeseriesQuery,
  ): TimeseriesDto {
    return {
      granularity: query.granularity,
      time_zone: query.timeZone,
      group_by: query.groupBy ?? null,
      from: from.toISOString(),
      to: to.toISOString(),
      groups_omitted: groupsOmitted,
      data: buckets.map(toBucketDto),
    };
  }
}

export class ForecastDto {
  @ApiProperty({
    format: 'date-time',
    example: '2026-11-01T00:00:00.000Z',
    description: 'When the month began (UTC).',
  })
  period_start!: string;

  @ApiProperty({ format: 'date-time', example: '2026-12-01T00:00:00.000Z', description: 'When it ends.' })
  period_end!: string;

  @ApiProperty({ type: 'integer', example: 2_100, description: 'Answered metered calls so far.' })
  requests!: number;

  @ApiProperty({ type: 'integer', example: 345_678, description: 'Tokens so far.' })
  total_tokens!: number;

  @ApiProperty({ example: 34.5678, description: 'Cost so far, in US dollars.' })
  cost_usd!: number;

  @ApiProperty({ type: 'integer', example: 2_900, description: 'Calls at the end of the month.' })
  expected_requests!: number;

  @ApiProperty({ type: 'integer', example: 471_379, description: 'Tokens at the end of the month.' })
  expected_tokens!: number;

  @ApiProperty({ example: 47.1379, description: 'Cost at the end of the month, in US dollars.' })
  expected_cost_usd!: number;

  static from(this: void, { periodStart, periodEnd, used, expected }: Forecast): ForecastDto {
    return {
      period_start: periodStart.toISOString(),
      period_end: periodEnd.toISOString(),
      requests: Number(used.requests),
      total_tokens: Number(used.tokens),
      cost_usd: usdNumber(used.costNanoUsd),
      expected_requests: Number(expected.requests),
      expected_tokens: Number(expected.tokens),
      expected_cost_usd: usdNumber(expected.costNanoUsd),
    };
  }
}

function toBucketDto({ start, groups, ...amount }: Bucket): UsageBucketDto {
  return {
    start: start.toISOString(),
    ...toAmountDto(amount),
    groups: groups.map((group) => ({ name: group.name, ...toAmountDto(group) })),
  };
}

function toAmountDto({
  requests,
  inputTokens,
  outputTokens,
  costNanoUsd,
}: UsageAmount): Pick<UsageAmountDto, keyof UsageAmountDto> {
  return {
    requests,
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    cost_usd: usdNumber(costNanoUsd),
  };
}
