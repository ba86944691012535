import { formatUsd, type NanoUsd, parseUsd } from '../common/money';
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

/**
 * Sets aside the most that each call of a batch may consume, if there is room for all of them, as nearly always: under
 * the locks of the months' rows, so that together with what is settled and held it never exceeds a cap. Otherwise, and
 * where a month's row is missing, it changes nothing. It is sent once: a call that has its hold already is an error.
 */
export const HOLD_ALL_SQL = `
  WITH wanted AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::date[], $4::bigint[], $5::numeric[], $6::bigint[], $7::numeric[])
                  AS wanted (user_id, scope_id, month, tokens, cost_usd, token_cap, usd_cap)
  ), locked AS (
    SELECT (token_cap IS NULL OR months.tokens + held_tokens + wanted.tokens <= token_cap)
           AND (usd_cap IS NULL OR months.cost_usd + held_usd + wanted.cost_usd <= usd_cap) AS has_room
    FROM usage_months AS months JOIN wanted USING (user_id, scope_id, month)
    ORDER BY months.user_id, months.scope_id, months.month
    FOR UPDATE OF months
  ), room AS (
    SELECT count(*) = cardinality($2) AND bool_and(has_room) AS is_for_all FROM locked
  ), held AS (
    INSERT INTO usage_holds (id, user_id, api_key_id, month, tokens, cost_usd, expires_at, served_elsewhere,
                             line_if_lost)
    SELECT * FROM unnest($8::uuid[], $9::uuid[], $10::uuid[], $11::date[], $12::bigint[], $13::numeric[],
                         $14::timestamptz[], $15::jsonb[], $16::jsonb[]) AS asked
    WHERE (SELECT is_for_all FROM room)
  ), reserved AS (
    UPDATE usage_months AS months
    SET held_tokens = months.held_tokens + wanted.tokens, held_usd = months.held_usd + wanted.cost_usd
    FROM wanted
    WHERE (months.user_id, months.scope_id, months.month) = (wanted.user_id, wanted.scope_id, wanted.month)
      AND (SELECT is_for_all FROM room)
  )
  SELECT is_for_all FROM room`;

/**
 * Judges each call of a batch, in the order of arrival, under the same locks, and sets aside what those may consume that
 * are granted. A call counts against those behind it even when it is refused itself, so whoever was refused is asked
 * again while he would fit alone. A call that has its hold already, from a send whose answer was lost, keeps it and
 * takes nothing more; $13 says that there may be such.
 */
export const JUDGE_SQL = `
  WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::date[], $5::bigint[], $6::numeric[],
                         $7::timestamptz[], $8::jsonb[], $9::jsonb[], $10::numeric[], $11::numeric[], $12::bigint[])
         WITH ORDINALITY AS asked (id, user_id, api_key_id, month, tokens, cost_usd, expires_at, served_elsewhere,
                                   line_if_lost, key_cap, account_cap, token_cap, position)
  ), locked AS (
    SELECT months.* FROM usage_months AS months
    JOIN (SELECT DISTINCT user_id, scope_id, month
          FROM asked CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)) AS wanted
      USING (user_id, scope_id, month)
    ORDER BY months.user_id, months.scope_id, months.month
    FOR UPDATE OF months
  ), judged AS (
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
  ), held AS (
    INSERT INTO usage_holds (user_id, id, api_key_id, month, tokens, cost_usd, expires_at, served_elsewhere,
                             line_if_lost)
    SELECT user_id, id, api_key_id, month, tokens, cost_usd, expires_at, served_elsewhere, line_if_lost FROM asked
    WHERE id IN (SELECT id FROM granted)
    ON CONFLICT (user_id, id) DO NOTHING
    RETURNING user_id, api_key_id, month, tokens, cost_usd
  ), reserved AS (
    UPDATE usage_months AS months
    SET held_tokens = months.held_tokens + held.tokens, held_usd = months.held_usd + held.cost_usd
    FROM (SELECT user_id, scope_id, month, sum(tokens) AS tokens, sum(cost_usd) AS cost_usd
          FROM held CROSS JOIN LATERAL (VALUES (user_id), (api_key_id)) AS scope (scope_id)
          WHERE scope_id IS NOT NULL GROUP BY 1, 2, 3) AS held
    WHERE (months.user_id, months.scope_id, months.month) = (held.user_id, held.scope_id, held.month)
  )
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

/** The parameters of {@link HOLD_ALL_SQL}: what the calls want of each month together, and the calls, a column each. */
export function holdAllParameters(openings: readonly Opening[]): unknown[] {
  const wanted = wantedOf(openings);
  return [
    plainArray(wanted.map(({ userId }) => userId)),
    plainArray(wanted.map(({ scopeId }) => scopeId)),
    plainArray(wanted.map(({ month }) => month)),
    plainArray(wanted.map(({ tokens }) => `${tokens}`)),
    plainArray(wanted.map(({ costNanoUsd }) => formatUsd(costNanoUsd))),
    plainArray(wanted.map(({ tokenCap }) => tokenCap?.toString() ?? null)),
    plainArray(wanted.map(({ usdCap }) => usdOf(usdCap))),
    ...askedColumns(openings),
  ];
}

/** The parameters of {@link JUDGE_SQL}: the calls, a column each. */
export function judgeParameters(openings: readonly Opening[], mayBeHeld: boolean): unknown[] {
  return [
    ...askedColumns(openings),
    plainArray(openings.map(({ caps }) => usdOf(caps.apiKeyUsd))),
    plainArray(openings.map(({ caps }) => usdOf(caps.accountUsd))),
    plainArray(openings.map(({ caps }) => caps.tokens?.toString() ?? null)),
    mayBeHeld,
  ];
}

function askedColumns(openings: readonly Opening[]): unknown[] {
  return [
    plainArray(openings.map(({ id }) => id)),
    plainArray(openings.map(({ userId }) => userId)),
    plainArray(openings.map(({ apiKeyId }) => apiKeyId)),
    plainArray(openings.map(({ month }) => month)),
    plainArray(openings.map(({ most }) => `${most.tokens}`)),
    plainArray(openings.map(({ most }) => formatUsd(most.costNanoUsd))),
    plainArray(openings.map(({ expiresAt }) => expiresAt.toISOString())),
    openings.map(({ servedElsewhere }) => (servedElsewhere ? JSON.stringify(servedElsewhere) : null)),
    openings.map(({ lineIfLost }) => (lineIfLost ? JSON.stringify(lineIfLost) : null)),
  ];
}

/** What the calls of a batch want of a month of an account or a key, and the least it is limited to. */
interface Wanted extends Most {
  readonly userId: string;
  readonly scopeId: string;
  readonly month: string;
  readonly tokenCap: bigint | null;
  readonly usdCap: NanoUsd | null;
}

function wantedOf(openings: readonly Opening[]): Wanted[] {
  const wanted = new Map<string, Wanted>();
  const add = (
    { userId, month, most }: Opening,
    scopeId: string,
    tokenCap: bigint | null,
    usdCap: NanoUsd | null,
  ): void => {
    const name = `${scopeId} ${month}`;
    const before = wanted.get(name);
    wanted.set(name, {
      userId,
      scopeId,
      month,
      tokens: (before?.tokens ?? 0n) + most.tokens,
      costNanoUsd: (before?.costNanoUsd ?? 0n) + most.costNanoUsd,
      tokenCap: before ? lesser(before.tokenCap, tokenCap) : tokenCap,
      usdCap: before ? lesser(before.usdCap, usdCap) : usdCap,
    });
  };
  for (const opening of openings) {
    const { userId, apiKeyId, caps } = opening;
    add(opening, userId, caps.tokens, caps.accountUsd);
    if (apiKeyId !== null) add(opening, apiKeyId, null, caps.apiKeyUsd);
  }
  return [...wanted.values()];
}

function lesser(one: bigint | null, other: bigint | null): bigint | null {
  if (one === null || other === null) return one ?? other;
  return one < other ? one : other;
}

function usdOf(amount: NanoUsd | null): string | null {
  return amount === null ? null : formatUsd(amount);
}

export function standingsOf(row: OpenRow): Standings {
  return {
    apiKeyUsd: { settled: parseUsd(row.key_settled), held: parseUsd(row.key_held) },
    accountUsd: { settled: parseUsd(row.account_settled), held: parseUsd(row.account_held) },
    tokens: { settled: BigInt(row.tokens_settled), held: BigInt(row.tokens_held) },
  };
}
