import { formatUsd } from '../common/money';
import type { Capped, Most } from './caps';
import type { Opening } from './open-statement';
import { plainArray } from './plain-array';
import { NO_API_KEY } from './usage-hour.entity';
import type { UsageLog } from './usage-log.entity';

/** Claims the identities of reported events, in order; left out are those that are taken, or whose hold is gone. */
const NAMED = `
  named AS (
    INSERT INTO usage_events (user_id, identity, fingerprint, line_id)
    SELECT reporter_id, identity, fingerprint, line_id
    FROM unnest($25::uuid[], $26::bytea[], $27::bytea[], $28::uuid[], $29::uuid[]) WITH ORDINALITY
         AS event (reporter_id, identity, fingerprint, line_id, hold_id, position)
    LEFT JOIN freed ON freed.id = event.hold_id
    WHERE event.hold_id IS NULL OR freed.id IS NOT NULL
    ORDER BY reporter_id, identity, position
    ON CONFLICT (user_id, identity) DO NOTHING
    RETURNING line_id
  ), `;

/**
 * A reported event leaves a line only when its identity was claimed here; what a dead process left, only when its hold
 * was still there: it has the id of its hold.
 */
const IS_DUE = `
    WHERE (id NOT IN (SELECT unnest($28::uuid[])) OR id IN (SELECT line_id FROM named))
      AND (id NOT IN (SELECT unnest($30::uuid[])) OR id IN (SELECT id FROM freed))`;

/** Ends the holds of the batch. The functions pin the plan: PostgreSQL takes a table for empty that often is. */
const FREED = `
  freed AS (
    SELECT * FROM usage_holds_end($23::uuid[], $24::uuid[])
  ), `;

/**
 * Takes off shared holds what the lines consumed that drew on them, of lines that are written here and no others; and
 * what no line will draw any more.
 */
const DRAWN = `
  drawn AS (
    SELECT drawn.*
    FROM (SELECT array_agg(user_id) AS user_ids, array_agg(hold_id) AS hold_ids, array_agg(tokens) AS tokens,
                 array_agg(cost_usd) AS costs_usd
          FROM (SELECT draw.user_id, hold_id, sum(draw.tokens)::bigint AS tokens, sum(draw.cost_usd) AS cost_usd
                FROM unnest($18::uuid[], $19::uuid[], $20::uuid[], $21::bigint[], $22::numeric[])
                     AS draw (line_id, user_id, hold_id, tokens, cost_usd)
                LEFT JOIN line ON line.id = draw.line_id
                WHERE draw.line_id IS NULL OR line.id IS NOT NULL
                GROUP BY 1, 2) AS draw) AS draws
    CROSS JOIN LATERAL usage_holds_draw(user_ids, hold_ids, tokens, costs_usd) AS drawn
    WHERE user_ids IS NOT NULL
  ), `;

/** What holds that ended, or that lines drew on, take off their months. */
const takenOff = (source: 'freed' | 'drawn'): string => `
          UNION ALL
          SELECT user_id, api_key_id, month, 0, 0, 0, -tokens, -cost_usd FROM ${source}`;

/**
 * {@link CLOSE_SQL} for a batch that has draws, holds, or lines that may not be due; others are spared their part. To
 * look whether each line is there already costs a tenth of the statement, so only what is sent again does.
 */
const closeSql = (attempt: Attempt, hasDraws: boolean, hasHolds: boolean, hasConditions: boolean): string => `
  WITH ${hasHolds ? FREED : ''}${hasConditions ? NAMED : ''}line AS (
    INSERT INTO usage_logs (id, user_id, api_key_id, operation, provider, model, input_tokens, output_tokens,
                            tokens_used, cost_usd, ip_address, user_agent, metadata, created_at, cached_tokens,
                            price_version)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::int[], $8::int[],
                         $9::int[], $10::numeric[], $11::text[], $12::text[], $13::jsonb[], $14::timestamptz[],
                         $15::int[], $16::int[])
                  AS asked (id)${hasConditions ? IS_DUE : ''}
    ${attempt === 'first' ? '' : 'ON CONFLICT (user_id, id, created_at) DO NOTHING'}
    RETURNING id, user_id, api_key_id, operation, provider, model, input_tokens, output_tokens, tokens_used, cost_usd,
              created_at
  ), ${hasDraws ? DRAWN : ''}hours AS (
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
    INSERT INTO usage_months AS kept (user_id, scope_id, month, requests, tokens, cost_usd, held_tokens, held_usd)
    SELECT user_id, scope_id, month, sum(requests), sum(tokens), sum(cost_usd), sum(held_tokens), sum(held_usd)
    FROM (SELECT user_id, api_key_id, (date_trunc('month', created_at, 'UTC') AT TIME ZONE 'UTC')::date AS month,
                 1 AS requests, tokens_used AS tokens, cost_usd, 0 AS held_tokens, 0 AS held_usd
          FROM line${hasDraws ? takenOff('drawn') : ''}${hasHolds ? takenOff('freed') : ''}) AS change
    CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)
    WHERE scope_id IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (user_id, scope_id, month) DO UPDATE
    SET requests = kept.requests + excluded.requests,
        tokens = kept.tokens + excluded.tokens,
        cost_usd = kept.cost_usd + excluded.cost_usd,
        held_tokens = kept.held_tokens + excluded.held_tokens,
        held_usd = kept.held_usd + excluded.held_usd
    RETURNING user_id, scope_id, month, tokens, cost_usd, budget_alert, quota_alert
  ), pending AS (
    INSERT INTO usage_pending AS kept (user_id, meter, amount)
    SELECT user_id, 'tokens', sum(tokens_used) FROM line GROUP BY 1 HAVING sum(tokens_used) <> 0 ORDER BY 1
    ON CONFLICT (user_id, meter) DO UPDATE SET amount = kept.amount + excluded.amount
  )
  SELECT scope_id, month::text AS month, tokens, cost_usd, budget_alert, quota_alert FROM months
  WHERE user_id = ANY($17::uuid[])`;

/** Whether a batch is sent for the first time; then it fails when one of its lines is there already. */
export type Attempt = 'first' | 'again';

/**
 * Ends a batch of calls: writes their ledger lines, and from the lines that it wrote, and no others, everything that is
 * summed up of them; lets go of the holds they had. Sent again, it counts once. Rows are locked in order, so that two
 * processes cannot wait for each other.
 */
const closeSqlFor = (attempt: Attempt) => ({
  ofCalls: closeSql(attempt, false, false, false),
  withDraws: closeSql(attempt, true, false, false),
  withHolds: closeSql(attempt, true, true, false),
  withConditions: closeSql(attempt, true, true, true),
});

const CLOSE_SQL = { first: closeSqlFor('first'), again: closeSqlFor('again') };

/** How a call ends: with the line it leaves in the ledger, if any, and without the hold it had, if any. */
export interface Closing {
  readonly line: UsageLog | null;
  readonly hold: Held | null;
  /** What is taken off a hold that it shares with others, if anything: with its line, or without one. */
  readonly draw: Draw | null;
  /** Whom to tell when much of a cap is used; null: nobody. */
  readonly capped: Capped | null;
  /** Of a call that another service has served and reported. */
  readonly event?: ReportedEvent;
  /** The line is that of a call whose process died: it is written only together with the end of its hold. */
  readonly isLost?: true;
}

/** What a call has set aside, by its name. */
export type Held = Pick<Opening, 'userId' | 'id'>;

/** What is taken off a hold that calls share. */
export interface Draw {
  readonly hold: Held;
  readonly taken: Most;
}

/** What makes a reported event the same as another. */
export interface ReportedEvent {
  readonly reporterId: string;
  readonly identity: Buffer;
  readonly fingerprint: Buffer;
}

/** A month of whoever has a cap in the batch, as it is after it. */
export interface CapMonth {
  readonly scope_id: string;
  readonly month: string;
  readonly tokens: string;
  readonly cost_usd: string;
  readonly budget_alert: number;
  readonly quota_alert: number;
}

/** The statement that closes a batch, and its parameters: a column each. */
export function closeStatement(
  closings: readonly Closing[],
  attempt: Attempt,
): [sql: string, parameters: unknown[]] {
  const sql = CLOSE_SQL[attempt];
  const lines = closings.flatMap(({ line }) => line ?? []);
  const holds = closings.flatMap(({ hold }) => hold ?? []);
  const events = closings.flatMap(({ line, event, hold }) =>
    line && event ? { ...event, lineId: line.id, holdId: hold?.id ?? null } : [],
  );
  // Whether it was taken already is seen by the line. Without one it may have been, so it is not taken again.
  const draws = closings.flatMap(({ line, draw }) =>
    draw && (line || attempt === 'first') ? { ...draw, lineId: line?.id ?? null } : [],
  );
  const lost = closings.flatMap(({ line, isLost }) => (line && isLost ? line.id : []));
  const column = <K extends keyof UsageLog>(name: K): UsageLog[K][] => lines.map((line) => line[name]);
  const parameters = [
    plainArray(column('id')),
    plainArray(column('userId')),
    plainArray(column('apiKeyId')),
    column('operation'),
    column('provider'),
    column('model'),
    plainArray(column('inputTokens')),
    plainArray(column('outputTokens')),
    plainArray(column('tokensUsed')),
    plainArray(column('costUsd')),
    column('ipAddress'),
    column('userAgent'),
    lines.map(({ metadata }) => JSON.stringify(metadata)),
    plainArray(lines.map(({ createdAt }) => createdAt.toISOString())),
    plainArray(column('cachedTokens')),
    plainArray(column('priceVersion')),
    plainArray(closings.flatMap(({ capped }) => capped?.userId ?? [])),
  ];
  const hasConditions = events.length > 0 || lost.length > 0;
  if (draws.length + holds.length === 0 && !hasConditions) return [sql.ofCalls, parameters];
  const drawn = [
    plainArray(draws.map(({ lineId }) => lineId)),
    plainArray(draws.map(({ hold }) => hold.userId)),
    plainArray(draws.map(({ hold }) => hold.id)),
    plainArray(draws.map(({ taken }) => `${taken.tokens}`)),
    plainArray(draws.map(({ taken }) => formatUsd(taken.costNanoUsd))),
  ];
  if (holds.length === 0 && !hasConditions) return [sql.withDraws, [...parameters, ...drawn]];
  const held = [plainArray(holds.map(({ userId }) => userId)), plainArray(holds.map(({ id }) => id))];
  if (!hasConditions) return [sql.withHolds, [...parameters, ...drawn, ...held]];
  const named = [
    events.map(({ reporterId }) => reporterId),
    events.map(({ identity }) => identity),
    events.map(({ fingerprint }) => fingerprint),
    events.map(({ lineId }) => lineId),
    // What is settled takes the place of what was held for it, or the cap would not hold.
    events.map(({ holdId }) => holdId),
  ];
  return [sql.withConditions, [...parameters, ...drawn, ...held, ...named, lost]];
}
