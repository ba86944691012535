import { Injectable } from '@nestjs/common';
import { Clock } from '../../common/clock';
import { type NanoUsd, parseUsd } from '../../common/money';
import { ReadingDatabase } from './reading-database';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** A week holds working days and others in their usual share. */
const LOOK_BACK_MS = 7 * DAY_MS;

/** What is used in a span of time; a forecast may be of as much as one likes, so all are exact integers. */
export interface Used {
  readonly requests: bigint;
  readonly tokens: bigint;
  readonly costNanoUsd: NanoUsd;
}

export interface Forecast {
  readonly periodStart: Date;
  readonly periodEnd: Date;
  readonly used: Used;
  /** At the end of the period, when use goes on as in the last seven days. */
  readonly expected: Used;
}

interface ForecastRow {
  used_requests: string;
  used_tokens: string;
  used_cost: string;
  recent_requests: string;
  recent_tokens: string;
  recent_cost: string;
  first_hour: Date | null;
}

const FORECAST_SQL = `
  SELECT used.requests AS used_requests, used.tokens AS used_tokens, used.cost_usd AS used_cost,
         recent.requests AS recent_requests, recent.tokens AS recent_tokens, recent.cost_usd AS recent_cost,
         (SELECT min(hour) FROM usage_hours WHERE user_id = $1) AS first_hour
  FROM (SELECT coalesce(sum(requests), 0) AS requests, coalesce(sum(tokens), 0) AS tokens,
               coalesce(sum(cost_usd), 0) AS cost_usd
        FROM usage_months WHERE user_id = $1 AND scope_id = $1 AND month = $2) AS used,
       (SELECT coalesce(sum(requests), 0) AS requests, coalesce(sum(input_tokens + output_tokens), 0) AS tokens,
               coalesce(sum(cost_usd), 0) AS cost_usd
        FROM usage_hours WHERE user_id = $1 AND hour >= $3) AS recent`;

/** What the current month (UTC), by which plans and budgets count, will come to. */
@Injectable()
export class UsageForecast {
  constructor(
    private readonly db: ReadingDatabase,
    private readonly clock: Clock,
  ) {}

  async read(userId: string): Promise<Forecast> {
    const now = this.clock.now();
    const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()];
    const [periodStart, periodEnd] = [
      new Date(Date.UTC(year, month, 1)),
      new Date(Date.UTC(year, month + 1, 1)),
    ];
    const lookBack = new Date(Math.floor(now.getTime() / HOUR_MS) * HOUR_MS - LOOK_BACK_MS);
    const [row] = await this.db.query<ForecastRow>(FORECAST_SQL, [
      userId,
      periodStart.toISOString().slice(0, 10),
      lookBack,
    ]);
    if (!row) throw new Error('An aggregate without GROUP BY always has one row.');
    const used = toUsed(row.used_requests, row.used_tokens, row.used_cost);
    const recent = toUsed(row.recent_requests, row.recent_tokens, row.recent_cost);
    // Whoever began yesterday has no week to look back on; what he did in his first hour says little of a day.
    const since = Math.max(lookBack.getTime(), row.first_hour?.getTime() ?? 0);
    const recentMs = Math.max(now.getTime() - since, DAY_MS);
    const restMs = periodEnd.getTime() - now.getTime();
    return { periodStart, periodEnd, used, expected: extrapolate(used, recent, recentMs, restMs) };
  }
}

/** `used`, and for `restMs` as much as in `recentMs`; rounded down. */
export function extrapolate(used: Used, recent: Used, recentMs: number, restMs: number): Used {
  const more = (amount: bigint): bigint => (amount * BigInt(restMs)) / BigInt(recentMs);
  return {
    requests: used.requests + more(recent.requests),
    tokens: used.tokens + more(recent.tokens),
    costNanoUsd: used.costNanoUsd + more(recent.costNanoUsd),
  };
}

function toUsed(requests: string, tokens: string, cost: string): Used {
  return { requests: BigInt(requests), tokens: BigInt(tokens), costNanoUsd: parseUsd(cost) };
}
