import { Injectable } from '@nestjs/common';
import { Clock } from '../../common/clock';
import { CommonErrors } from '../../common/common.errors';
import { type NanoUsd, parseUsd } from '../../common/money';
import { NO_API_KEY } from '../usage-hour.entity';
import { bucketEdges, type Granularity, isTooLong, spanDaysMax } from './calendar';
import { ReadingDatabase } from './reading-database';
import { type UsageFilter, usageWhere } from './usage-filter';

/** What a series may be broken down by, and the column that says it. */
const groupColumns = { key: 'api_key_id', operation: 'operation', provider: 'provider', model: 'model' };
export type GroupBy = keyof typeof groupColumns;
export const groupings = Object.keys(groupColumns) as GroupBy[];

/** How many groups a series shows. */
export const GROUPS_MAX = 20;

/** Between these years every time zone is sure, and every date has four digits. */
const YEAR_MIN = 2000;
const YEAR_MAX = 2100;

export interface TimeseriesQuery extends UsageFilter {
  readonly granularity: Granularity;
  /** A name that `isTimeZone` knows. */
  readonly timeZone: string;
  readonly groupBy?: GroupBy | undefined;
}

/** What was used in a bucket, or by one group in it. */
export interface UsageAmount {
  readonly requests: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costNanoUsd: NanoUsd;
}

export interface Bucket extends UsageAmount {
  readonly start: Date;
  /** Those with usage in it, the costliest of the whole series first; `name` null: calls without. */
  readonly groups: readonly (UsageAmount & { readonly name: string | null })[];
}

export interface Timeseries {
  readonly from: Date;
  readonly to: Date;
  /** Every bucket, empty ones too, oldest first. */
  readonly buckets: readonly Bucket[];
  /** How many groups are in the sums and not shown. */
  readonly groupsOmitted: number;
}

interface CellRow {
  bucket: number;
  name: string | null;
  place: string;
  groups: string;
  requests: string;
  input_tokens: string;
  output_tokens: string;
  cost_usd: string;
}

/** Usage over time, from the hourly sums: its cost does not grow with the number of calls. */
@Injectable()
export class UsageTimeseries {
  constructor(
    private readonly db: ReadingDatabase,
    private readonly clock: Clock,
  ) {}

  /**
   * The buckets that hold the span that is asked for, whole, in the caller's time zone; each is exactly what the ledger
   * says from its start to the next one's.
   * @throws ApiError `validation_failed` when the span is empty or too long.
   */
  async read(userId: string, query: TimeseriesQuery): Promise<Timeseries> {
    const { granularity, timeZone, groupBy, from, to = this.clock.now() } = query;
    checkSpan(granularity, from, to);
    const edges = bucketEdges(granularity, timeZone, from, to);
    const [first, last] = [edges[0], edges.at(-1)];
    if (!first || !last) throw new Error('A span that is not empty has a bucket.');

    const { where, parameters } = usageWhere(userId, { ...query, from: first, to: last }, 'hour');
    const starts = edges.slice(0, -1);
    const rows = await this.db.query<CellRow>(seriesSql(groupBy, where, parameters.length), [
      ...parameters,
      starts,
      GROUPS_MAX,
    ]);
    const byBucket = Map.groupBy(rows, ({ bucket }) => bucket);
    return {
      from: first,
      to: last,
      // `width_bucket` counts from one.
      buckets: starts.map((start, i) => toBucket(start, byBucket.get(i + 1) ?? [], groupBy !== undefined)),
      groupsOmitted: groupBy ? Math.max(0, Number(rows[0]?.groups ?? 0) - GROUPS_MAX) : 0,
    };
  }
}

/** A row for each bucket and group; the groups that are not shown share one, at the place behind the last. */
function seriesSql(groupBy: GroupBy | undefined, where: string, count: number): string {
  const [starts, groupsMax] = [`$${count + 1}::timestamptz[]`, `$${count + 2}::int`];
  return `
    WITH cell AS (
      SELECT width_bucket(hour, ${starts}) AS bucket, ${groupBy ? `${groupColumns[groupBy]}::text` : `''`} AS name,
             sum(requests) AS requests, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
             sum(cost_usd) AS cost_usd
      FROM usage_hours WHERE ${where} GROUP BY 1, 2
    ), ranked AS (
      SELECT name, least(row_number() OVER (ORDER BY sum(cost_usd) DESC, sum(requests) DESC, name), ${groupsMax} + 1) AS place,
             count(*) OVER () AS groups
      FROM cell GROUP BY name
    )
    SELECT bucket, min(name) AS name, place, groups, sum(requests) AS requests, sum(input_tokens) AS input_tokens,
           sum(output_tokens) AS output_tokens, sum(cost_usd) AS cost_usd
    FROM cell JOIN ranked USING (name) GROUP BY bucket, place, groups ORDER BY bucket, place`;
}

function toBucket(start: Date, rows: readonly CellRow[], isGrouped: boolean): Bucket {
  const cells = rows.map((row) => ({
    name: row.name === '' || row.name === NO_API_KEY ? null : row.name,
    isShown: isGrouped && Number(row.place) <= GROUPS_MAX,
    requests: Number(row.requests),
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    costNanoUsd: parseUsd(row.cost_usd),
  }));
  const sum = (field: 'requests' | 'inputTokens' | 'outputTokens'): number =>
    cells.reduce((total, cell) => total + cell[field], 0);
  return {
    start,
    requests: sum('requests'),
    inputTokens: sum('inputTokens'),
    outputTokens: sum('outputTokens'),
    costNanoUsd: cells.reduce((total, cell) => total + cell.costNanoUsd, 0n),
    groups: cells.filter(({ isShown }) => isShown),
  };
}

function checkSpan(granularity: Granularity, from: Date | undefined, to: Date): void {
  const fail = (field: string, message: string): never => {
    throw CommonErrors.validationFailed.with({ errors: [{ field, message }] });
  };
  for (const [field, date] of [
    ['from', from],
    ['to', to],
  ] as const) {
    const year = date?.getUTCFullYear() ?? YEAR_MIN;
    if (year < YEAR_MIN || year > YEAR_MAX) fail(field, `must be from ${YEAR_MIN} to ${YEAR_MAX}`);
  }
  if (!from) return;
  if (from >= to) fail('from', 'must be before "to", which is now when it is absent');
  if (isTooLong(granularity, { from, to }))
    fail('from', `must be at most ${spanDaysMax[granularity]} days before "to" by the ${granularity}`);
}
