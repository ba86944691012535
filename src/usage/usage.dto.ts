import { ApiProperty } from '@nestjs/swagger';
import { usdNumber } from '../common/money';
import type { UsageSum } from './usage.service';

export class UsageStatsDto {
  @ApiProperty({ type: 'integer', example: 120, description: 'Answered metered calls, ever.' })
  total_requests!: number;

  @ApiProperty({ type: 'integer', example: 34_567, description: 'Tokens, ever.' })
  total_tokens!: number;

  @ApiProperty({ example: 3.4567, description: 'Cost in US dollars, ever.' })
  total_cost_usd!: number;

  @ApiProperty({ type: 'integer', example: 7, description: 'Answered metered calls since midnight UTC.' })
  requests_today!: number;

  @ApiProperty({ type: 'integer', example: 890, description: 'Tokens since midnight UTC.' })
  tokens_today!: number;

  @ApiProperty({ example: 0.089, description: 'Cost in US dollars since midnight UTC.' })
  cost_today_usd!: number;

  static from(this: void, { total, today }: { total: UsageSum; today: UsageSum }): UsageStatsDto {
    return {
      total_requests: total.requests,
      total_tokens: total.tokens,
      total_cost_usd: usdNumber(total.costNanoUsd),
      requests_today: today.requests,
      tokens_today: today.tokens,
      cost_today_usd: usdNumber(today.costNanoUsd),
    };
  }
}
