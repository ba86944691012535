import type { EntityManager } from 'typeorm';
import { NO_API_KEY } from './usage-hour.entity';

const FINDINGS_MAX = 20;

/** A sum that is not what the ledger says. */
export interface UsageFinding {
  /** The table, with the row's key. */
  readonly where: string;
  readonly ledger: string;
  readonly summary: string;
}

/** Each compares the rows of one table with what the ledger, or the holds, make of them; a row that either side lacks counts as nothing. */
const COMPARISONS: readonly string[] = [
  `SELECT concat_ws(' ', 'usage_hours', user_id, hour AT TIME ZONE 'UTC', api_key_id, operation, provider, model) AS "where",
          concat_ws(' ', l.requests, l.input_tokens, l.output_tokens, l.cost_usd) AS ledger,
          concat_ws(' ', s.requests, s.input_tokens, s.output_tokens, s.cost_usd) AS summary
   FROM (SELECT user_id, date_trunc('hour', created_at, 'UTC') AS hour, coalesce(api_key_id, '${NO_API_KEY}') AS api_key_id,
                operation, coalesce(provider, '') AS provider, coalesce(model, '') AS model, count(*) AS requests,
                sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost_usd) AS cost_usd
         FROM usage_logs GROUP BY 1, 2, 3, 4, 5, 6) AS l
   FULL JOIN usage_hours AS s USING (user_id, hour, api_key_id, operation, provider, model)
   WHERE (date_trunc('month', hour, 'UTC') AT TIME ZONE 'UTC')::date NOT IN (SELECT month FROM usage_archives)
         AND (l.requests, l.input_tokens, l.output_tokens, l.cost_usd)
         IS DISTINCT FROM (s.requests, s.input_tokens, s.output_tokens, s.cost_usd) LIMIT $1`,
  `SELECT concat_ws(' ', 'usage_months', user_id, scope_id, month) AS "where",
          concat_ws(' ', l.requests, l.tokens, l.cost_usd) AS ledger,
          concat_ws(' ', s.requests, s.tokens, s.cost_usd) AS summary
   FROM (SELECT user_id, scope_id, (date_trunc('month', created_at, 'UTC') AT TIME ZONE 'UTC')::date AS month,
                count(*) AS requests, sum(tokens_used) AS tokens, sum(cost_usd) AS cost_usd
         FROM usage_logs CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)
         WHERE scope_id IS NOT NULL GROUP BY 1, 2, 3) AS l
   FULL JOIN usage_months AS s USING (user_id, scope_id, month)
   WHERE month NOT IN (SELECT month FROM usage_archives)
         AND (coalesce(l.requests, 0), coalesce(l.tokens, 0), coalesce(l.cost_usd, 0))
         IS DISTINCT FROM (coalesce(s.requests, 0), coalesce(s.tokens, 0), coalesce(s.cost_usd, 0)) LIMIT $1`,
  `SELECT concat_ws(' ', 'usage_pending', user_id, s.meter) AS "where",
          coalesce(l.tokens, 0)::text AS ledger, concat_ws(' + ', s.amount, s.taken) AS summary
   FROM (SELECT user_id, sum(tokens) AS tokens
         FROM (SELECT user_id, tokens_used AS tokens FROM usage_logs
               WHERE (date_trunc('month', created_at, 'UTC') AT TIME ZONE 'UTC')::date NOT IN (SELECT month FROM usage_archives)
               UNION ALL
               SELECT user_id, tokens FROM usage_months
               WHERE scope_id = user_id AND month IN (SELECT month FROM usage_archives)) AS line
         GROUP BY 1) AS l
   FULL JOIN (SELECT * FROM usage_pending WHERE meter = 'tokens') AS s USING (user_id)
   WHERE coalesce(l.tokens, 0) <> coalesce(s.amount + s.taken, 0) LIMIT $1`,
  // Of a month whose lines were archived: all accounts together, with the lines that came later.
  `SELECT concat_ws(' ', s."table", month) AS "where", concat_ws(' ', l.requests, l.tokens, l.cost_usd) AS ledger,
          concat_ws(' ', s.requests, s.tokens, s.cost_usd) AS summary
   FROM (SELECT month, sum(requests) AS requests, sum(tokens) AS tokens, sum(cost_usd) AS cost_usd
         FROM (SELECT month, lines AS requests, tokens, cost_usd FROM usage_archives
               UNION ALL
               SELECT (date_trunc('month', created_at, 'UTC') AT TIME ZONE 'UTC')::date, 1, tokens_used, cost_usd
               FROM usage_logs) AS line
         GROUP BY 1) AS l
   JOIN (SELECT 'usage_months' AS "table", month, sum(requests) AS requests, sum(tokens) AS tokens, sum(cost_usd) AS cost_usd
         FROM usage_months WHERE scope_id = user_id GROUP BY 2
         UNION ALL
         SELECT 'usage_hours', (date_trunc('month', hour, 'UTC') AT TIME ZONE 'UTC')::date, sum(requests),
                sum(input_tokens + output_tokens), sum(cost_usd)
         FROM usage_hours GROUP BY 2) AS s USING (month)
   WHERE month IN (SELECT month FROM usage_archives)
         AND (l.requests, l.tokens, l.cost_usd) IS DISTINCT FROM (s.requests, s.tokens, s.cost_usd) LIMIT $1`,
  `SELECT concat_ws(' ', 'usage_holds', user_id, scope_id, month) AS "where",
          concat_ws(' ', h.tokens, h.cost_usd) AS ledger, concat_ws(' ', s.held_tokens, s.held_usd) AS summary
   FROM (SELECT user_id, scope_id, month, sum(tokens) AS tokens, sum(cost_usd) AS cost_usd
         FROM usage_holds CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)
         WHERE scope_id IS NOT NULL GROUP BY 1, 2, 3) AS h
   FULL JOIN usage_months AS s USING (user_id, scope_id, month)
   WHERE (coalesce(h.tokens, 0), coalesce(h.cost_usd, 0))
         IS DISTINCT FROM (coalesce(s.held_tokens, 0), coalesce(s.held_usd, 0)) LIMIT $1`,
];

/**
 * Holds every sum against the ledger, each table in one statement, so at one moment; the service may run meanwhile.
 * @returns the sums that differ, at most twenty.
 */
export async function verifyUsage(db: EntityManager): Promise<UsageFinding[]> {
  const findings: UsageFinding[] = [];
  for (const comparison of COMPARISONS) {
    findings.push(...(await db.query<UsageFinding[]>(comparison, [FINDINGS_MAX])));
  }
  return findings.slice(0, FINDINGS_MAX);
}
