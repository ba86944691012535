import { Readable } from 'node:stream';
import { Controller, Get, Query, StreamableFile } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { UserAccess } from '../../common/access';
import { pageDto, pageRequest } from '../../common/pagination';
import { CurrentPrincipal, type UserPrincipal } from '../../common/principal';
import { RateLimited } from '../../limits/rate-limit.decorator';
import { csvHeader } from './usage-csv';
import { UsageForecast } from './usage-forecast';
import { UsageLines } from './usage-lines';
import { UsageLogDto, UsageLogsDto } from './usage-log.dto';
import { TimeseriesQueryDto, toUsageFilter, UsageFilterDto, UsageLogsQueryDto } from './usage-query.dto';
import { ForecastDto, TimeseriesDto } from './usage-reading.dto';
import { type TimeseriesQuery, UsageTimeseries } from './usage-timeseries';

@ApiTags('Usage')
@UserAccess()
@Controller('auth/usage')
export class UsageReadingController {
  constructor(
    private readonly timeseries: UsageTimeseries,
    private readonly lines: UsageLines,
    private readonly forecasts: UsageForecast,
  ) {}

  @Get('timeseries')
  @ApiOperation({
    summary: 'Usage over time',
    description:
      'By the hour, day or month of your time zone, broken down if you like. The buckets hold the span that you ask for, whole. Default: the last 24 hours, 30 days or 12 months.',
  })
  @ApiOkResponse({ type: TimeseriesDto, description: 'Every bucket of the span.' })
  async series(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Query() dto: TimeseriesQueryDto,
  ): Promise<TimeseriesDto> {
    const query = toTimeseriesQuery(dto);
    return TimeseriesDto.from(await this.timeseries.read(userId, query), query);
  }

  @Get('logs')
  @ApiOperation({
    summary: 'The single calls',
    description: 'Every answered metered call, the latest first; filters are joined by "and".',
  })
  @ApiOkResponse({ type: UsageLogsDto, description: 'A page of calls.' })
  async logs(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Query() query: UsageLogsQueryDto,
  ): Promise<UsageLogsDto> {
    return pageDto(await this.lines.page(userId, toUsageFilter(query), pageRequest(query)), UsageLogDto.from);
  }

  @Get('export')
  @RateLimited('usage-export')
  @ApiOperation({
    summary: 'The single calls as CSV',
    description:
      'All that fit, the oldest first, with the fields of the list. Texts that a spreadsheet would take for a formula begin with an apostrophe. An export that breaks off breaks the connection, so it is never taken for a whole one.',
  })
  @ApiProduces('text/csv')
  @ApiOkResponse({
    schema: { type: 'string', example: csvHeader },
    description: 'A file, with a line of names first.',
    headers: { 'Content-Disposition': { $ref: '#/components/headers/Content-Disposition' } },
  })
  async export(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Query() query: UsageFilterDto,
  ): Promise<StreamableFile> {
    const chunks = this.lines.csv(userId, toUsageFilter(query));
    // What fails before the first byte still gets an answer that says so.
    const first = await chunks.next();
    return new StreamableFile(Readable.from(csvOf(first.value ?? '', chunks), { objectMode: false }), {
      type: 'text/csv; charset=utf-8',
      disposition: 'attachment; filename="usage.csv"',
    });
  }

  @Get('forecast')
  @ApiOperation({
    summary: 'What the month will come to',
    description:
      'The use of this month (UTC) so far, and at its end when it goes on as in the last seven days, or since the first call when that is less.',
  })
  @ApiOkResponse({ type: ForecastDto, description: 'So far, and expected.' })
  async forecast(@CurrentPrincipal() { userId }: UserPrincipal): Promise<ForecastDto> {
    return ForecastDto.from(await this.forecasts.read(userId));
  }
}

function toTimeseriesQuery(dto: TimeseriesQueryDto): TimeseriesQuery {
  const { granularity = 'day', time_zone: timeZone = 'UTC', group_by: groupBy } = dto;
  return { ...toUsageFilter(dto), granularity, timeZone, groupBy };
}

async function* csvOf(first: string, rest: AsyncIterable<string>): AsyncGenerator<string, void> {
  yield csvHeader + first;
  yield* rest;
}
