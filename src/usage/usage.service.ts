import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { type NanoUsd, parseUsd } from '../common/money';

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
  SELECT count(*) AS total_requests,
         coalesce(sum(tokens_used), 0) AS total_tokens,
         coalesce(sum(cost_usd), 0) AS total_cost,
         count(*) FILTER (WHERE created_at >= $2) AS today_requests,
         coalesce(sum(tokens_used) FILTER (WHERE created_at >= $2), 0) AS today_tokens,
         coalesce(sum(cost_usd) FILTER (WHERE created_at >= $2), 0) AS today_cost
  FROM usage_logs WHERE user_id = $1`;

@Injectable()
export class UsageService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
  ) {}

  /** What a user has used, ever and since midnight UTC. */
  async stats(userId: string): Promise<{ total: UsageSum; today: UsageSum }> {
    const midnight = this.clock.now();
    midnight.setUTCHours(0, 0, 0, 0);
    const [row] = await this.db.query<StatsRow[]>(STATS_SQL, [userId, midnight]);
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
