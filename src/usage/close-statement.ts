import { NO_API_KEY } from './usage-hour.entity';
import type { UsageLog } from './usage-log.entity';

/**
 * Writes a batch of ledger lines, and from the lines that it wrote, and no others, everything that is summed up of
 * them: sent twice, it counts once. Rows are locked in order, so that two processes cannot wait for each other.
 */
export const CLOSE_SQL = `
  WITH line AS (
    INSERT INTO usage_logs (id, user_id, api_key_id, operation, provider, model, input_tokens, output_tokens,
                            tokens_used, cost_usd, ip_address, user_agent, metadata, created_at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::int[], $8::int[],
                         $9::int[], $10::numeric[], $11::text[], $12::text[], $13::jsonb[], $14::timestamptz[])
    ON CONFLICT (user_id, id, created_at) DO NOTHING
    RETURNING user_id, api_key_id, operation, provider, model, input_tokens, output_tokens, tokens_used, cost_usd,
              created_at
  ), hours AS (
    INSERT INTO usage_hours AS kept (user_id, hour, api_key_id, operation, provider, model,
                                     requests, input_tokens, output_tokens, cost_usd)
    SELECT user_id, date_trunc('hour', created_at, 'UTC'), coalesce(api_key_id, '${NO_API_KEY}'), operation,
           coalesce(provider, ''), coalesce(model, ''), count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd)
    FROM line GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (user_id, hour, api_key_id, operation, provider, model) DO UPDATE
    SET requests = kept.requests + excluded.requests,
        input_tokens = kept.input_tokens + excluded.input_tokens,
        output_tokens = kept.output_tokens + excluded.output_tokens,
        cost_usd = kept.cost_usd + excluded.cost_usd
  ), months AS (
    INSERT INTO usage_months AS kept (user_id, scope_id, month, requests, tokens, cost_usd)
    SELECT user_id, scope_id, date_trunc('month', created_at, 'UTC') AT TIME ZONE 'UTC',
           count(*), sum(tokens_used), sum(cost_usd)
    FROM line CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)
    WHERE scope_id IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (user_id, scope_id, month) DO UPDATE
    SET requests = kept.requests + excluded.requests,
        tokens = kept.tokens + excluded.tokens,
        cost_usd = kept.cost_usd + excluded.cost_usd
  )
  INSERT INTO usage_pending AS kept (user_id, meter, amount)
  SELECT user_id, 'tokens', sum(tokens_used) FROM line GROUP BY 1 HAVING sum(tokens_used) <> 0 ORDER BY 1
  ON CONFLICT (user_id, meter) DO UPDATE SET amount = kept.amount + excluded.amount`;

/** The parameters of {@link CLOSE_SQL}: a column each. */
export function closeParameters(lines: readonly UsageLog[]): unknown[] {
  const column = <K extends keyof UsageLog>(name: K): UsageLog[K][] => lines.map((line) => line[name]);
  return [
    column('id'),
    column('userId'),
    column('apiKeyId'),
    column('operation'),
    column('provider'),
    column('model'),
    column('inputTokens'),
    column('outputTokens'),
    column('tokensUsed'),
    column('costUsd'),
    column('ipAddress'),
    column('userAgent'),
    lines.map(({ metadata }) => JSON.stringify(metadata)),
    column('createdAt'),
  ];
}
