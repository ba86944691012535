import { Injectable } from '@nestjs/common';
import { Clock } from '../common/clock';
import { type NanoUsd, parseUsd } from '../common/money';
import { ReadingDatabase } from './reading/reading-database';

/** What was used in a span of time. */
export interface UsageSum {
  readonly requests: number;
  readonly tokens: number;
  readonly costNanoUsd: NanoUsd;
}

interface StatsRow {
  total_requests: string;
  total_tokens: string;
  total_cost: string;
  today_requests: string;
  today_tokens: string;
  today_cost: string;
}

const STATS_SQL = `
  SELECT total.requests AS total_requests, total.tokens AS total_tokens, total.cost_usd AS total_cost,
         today.requests AS today_requests, today.tokens AS today_tokens, today.cost_usd AS today_cost
  FROM (SELECT coalesce(sum(requests), 0) AS requests, coalesce(sum(tokens), 0) AS tokens,
               coalesce(sum(cost_usd), 0) AS cost_usd
        FROM usage_months WHERE user_id = $1 AND scope_id = $1) AS total,
       (SELECT coalesce(sum(requests), 0) AS requests, coalesce(sum(input_tokens + output_tokens), 0) AS tokens,
               coalesce(sum(cost_usd), 0) AS cost_usd
        FROM usage_hours WHERE user_id = $1 AND hour >= $2) AS today`;

@Injectable()
export class UsageService {
  constructor(
    private readonly db: ReadingDatabase,
    private readonly clock: Clock,
  ) {}

  /** What a user has used, ever and since midnight UTC. */
  async stats(userId: string): Promise<{ total: UsageSum; today: UsageSum }> {
    const midnight = this.clock.now();
    midnight.setUTCHours(0, 0, 0, 0);
    const [row] = await this.db.query<StatsRow>(STATS_SQL, [userId, midnight]);
    if (!row) throw new Error('An aggregate without GROUP BY always has one row.');
    return {
      total: toSum(row.total_requests, row.total_tokens, row.total_cost),
      today: toSum(row.today_requests, row.today_tokens, row.today_cost),
    };
  }
}

function toSum(requests: string, tokens: string, cost: string): UsageSum {
  return { requests: Number(requests), tokens: Number(tokens), costNanoUsd: parseUsd(cost) };
}
