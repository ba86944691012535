import { formatUsd, parseUsd } from '../common/money';
import type { Capped, Most, Standings } from './caps';
import { plainArray } from './plain-array';
import type { ServedElsewhere } from './usage-hold.entity';
import type { UsageLog } from './usage-log.entity';

/** A call that asks for room under its caps. */
export interface Opening extends Capped {
  readonly id: string;
  /** The first day of the month (UTC). */
  readonly month: string;
  readonly most: Most;
  readonly expiresAt: Date;
  /** Of a call that another service serves. */
  readonly servedElsewhere?: ServedElsewhere;
  /** Of a streamed call: its line in the ledger should its process die. */
  readonly lineIfLost?: UsageLog;
}

const ASKED = `
  WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::date[], $5::bigint[], $6::numeric[], $7::numeric[],
                         $8::numeric[], $9::bigint[], $10::timestamptz[], $11::jsonb[], $12::jsonb[])
         WITH ORDINALITY AS asked (id, user_id, api_key_id, month, tokens, cost_usd, key_cap, account_cap, token_cap,
                                   expires_at, served_elsewhere, line_if_lost, position)
  ), wanted AS (
    SELECT user_id, scope_id, month, sum(tokens) AS tokens, sum(cost_usd) AS cost_usd,
           min(scope.token_cap) AS token_cap, min(usd_cap) AS usd_cap
    FROM asked CROSS JOIN LATERAL (VALUES (user_id, token_cap, account_cap), (api_key_id, NULL, key_cap))
                          AS scope (scope_id, token_cap, usd_cap)
    WHERE scope_id IS NOT NULL GROUP BY 1, 2, 3
  ), locked AS (
    SELECT months.* FROM usage_months AS months JOIN wanted USING (user_id, scope_id, month)
    ORDER BY months.user_id, months.scope_id, months.month
    FOR UPDATE OF months
  )`;

/** Holds what was asked for where the condition is true. */
const holdWhere = (condition: string): string => `
  held AS (
    INSERT INTO usage_holds (user_id, id, api_key_id, month, tokens, cost_usd, expires_at, served_elsewhere,
                             line_if_lost)
    SELECT user_id, id, api_key_id, month, tokens, cost_usd, expires_at, served_elsewhere, line_if_lost FROM asked
    WHERE ${condition}
    ON CONFLICT (user_id, id) DO NOTHING
    RETURNING user_id, api_key_id, month, tokens, cost_usd
  ), reserved AS (
    UPDATE usage_months AS months
    SET held_tokens = months.held_tokens + held.tokens, held_usd = months.held_usd + held.cost_usd
    FROM (SELECT user_id, scope_id, month, sum(tokens) AS tokens, sum(cost_usd) AS cost_usd
          FROM held CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)
          WHERE scope_id IS NOT NULL GROUP BY 1, 2, 3) AS held
    WHERE (months.user_id, months.scope_id, months.month) = (held.user_id, held.scope_id, held.month)
  )`;

/**
 * Sets aside the most that each call of a batch may consume, if there is room for all of them, as nearly always: under
 * the locks of the months' rows, so that together with what is settled and held it never exceeds a cap. Otherwise, and
 * where a month's row is missing, it changes nothing.
 */
export const HOLD_ALL_SQL = `${ASKED}, room AS (
    SELECT bool_and(months.user_id IS NOT NULL
                    AND (token_cap IS NULL OR months.tokens + held_tokens + wanted.tokens <= token_cap)
                    AND (usd_cap IS NULL OR months.cost_usd + held_usd + wanted.cost_usd <= usd_cap)) AS is_for_all
    FROM wanted LEFT JOIN locked AS months USING (user_id, scope_id, month)
  ), ${holdWhere('(SELECT is_for_all FROM room)')}
  SELECT is_for_all FROM room`;

/**
 * Judges each call of a batch, in the order of arrival, under the same locks, and sets aside what those may consume that
 * are granted. A call counts against those behind it even when it is refused itself, so whoever was refused is asked
 * again while he would fit alone. A call that has its hold already, from a send whose answer was lost, keeps it and
 * takes nothing more; $13 says that there may be such.
 */
export const JUDGE_SQL = `${ASKED}, judged AS (
    SELECT asked.id, position, asked.tokens, asked.cost_usd, key_cap, account_cap, token_cap,
           (held.id IS NOT NULL) AS is_held,
           (account.user_id IS NOT NULL AND (asked.api_key_id IS NULL OR key.user_id IS NOT NULL)) AS is_known,
           account.tokens AS tokens_settled, account.held_tokens AS tokens_held,
           account.cost_usd AS account_settled, account.held_usd AS account_held,
           coalesce(key.cost_usd, 0) AS key_settled, coalesce(key.held_usd, 0) AS key_held,
           sum(asked.tokens) OVER by_account AS tokens_asked, sum(asked.cost_usd) OVER by_account AS account_asked,
           sum(asked.cost_usd) OVER by_key AS key_asked
    FROM asked
    LEFT JOIN usage_holds AS held ON $13 AND (held.user_id, held.id) = (asked.user_id, asked.id)
    LEFT JOIN locked AS account
      ON (account.user_id, account.scope_id, account.month) = (asked.user_id, asked.user_id, asked.month)
    LEFT JOIN locked AS key
      ON (key.user_id, key.scope_id, key.month) = (asked.user_id, asked.api_key_id, asked.month)
    WINDOW by_account AS (PARTITION BY asked.user_id, asked.month ORDER BY position),
           by_key AS (PARTITION BY asked.api_key_id, asked.month ORDER BY position)
  ), granted AS (
    SELECT id FROM judged
    WHERE is_known
      AND (token_cap IS NULL OR tokens_settled + tokens_held + tokens_asked <= token_cap)
      AND (account_cap IS NULL OR account_settled + account_held + account_asked <= account_cap)
      AND (key_cap IS NULL OR key_settled + key_held + key_asked <= key_cap)
  ), ${holdWhere('id IN (SELECT id FROM granted)')}
  SELECT is_known, (is_held OR id IN (SELECT id FROM granted)) AS is_granted, tokens_settled, tokens_held,
         account_settled, account_held, key_settled, key_held
  FROM judged ORDER BY position`;

/** Makes the months' rows of a batch, as far as they are missing. */
export const MAKE_MONTHS_SQL = `
  INSERT INTO usage_months (user_id, scope_id, month, requests, tokens, cost_usd)
  SELECT DISTINCT user_id, scope_id, month, 0, 0, 0
  FROM unnest($1::uuid[], $2::uuid[], $3::date[]) AS asked (user_id, api_key_id, month)
  CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)
  WHERE scope_id IS NOT NULL
  ORDER BY 1, 2, 3
  ON CONFLICT DO NOTHING`;

/** What {@link JUDGE_SQL} answers for each call, in their order; the standings are those before the batch. */
export interface OpenRow {
  /** False: a month's row is missing, and nothing was decided. */
  readonly is_known: boolean;
  readonly is_granted: boolean;
  readonly tokens_settled: string;
  readonly tokens_held: string;
  readonly account_settled: string;
  readonly account_held: string;
  readonly key_settled: string;
  readonly key_held: string;
}

/** The parameters of {@link HOLD_ALL_SQL}, and the first ones of {@link JUDGE_SQL}: a column each. */
export function openParameters(openings: readonly Opening[]): unknown[] {
  const usd = (amount: bigint | null): string | null => (amount === null ? null : formatUsd(amount));
  return [
    plainArray(openings.map(({ id }) => id)),
    plainArray(openings.map(({ userId }) => userId)),
    plainArray(openings.map(({ apiKeyId }) => apiKeyId)),
    plainArray(openings.map(({ month }) => month)),
    plainArray(openings.map(({ most }) => String(most.tokens))),
    plainArray(openings.map(({ most }) => usd(most.costNanoUsd))),
    plainArray(openings.map(({ caps }) => usd(caps.apiKeyUsd))),
    plainArray(openings.map(({ caps }) => usd(caps.accountUsd))),
    plainArray(openings.map(({ caps }) => caps.tokens?.toString() ?? null)),
    plainArray(openings.map(({ expiresAt }) => expiresAt.toISOString())),
    openings.map(({ servedElsewhere }) => (servedElsewhere ? JSON.stringify(servedElsewhere) : null)),
    openings.map(({ lineIfLost }) => (lineIfLost ? JSON.stringify(lineIfLost) : null)),
  ];
}

export function standingsOf(row: OpenRow): Standings {
  return {
    apiKeyUsd: { settled: parseUsd(row.key_settled), held: parseUsd(row.key_held) },
    accountUsd: { settled: parseUsd(row.account_settled), held: parseUsd(row.account_held) },
    tokens: { settled: BigInt(row.tokens_settled), held: BigInt(row.tokens_held) },
  };
}
