const BATCH = 500_000;
const OTHERS = 5_000;

const TABLES = ['usage_logs', 'usage_hours', 'usage_months'];

/**
 * Fills the ledger up to `rows` lines, evenly over a span of time: every other one of `userId`, the rest of 5,000 more users;
 * three models each. Then every sum is made from the lines, as the migration that brought the sums did. Nothing else may
 * write meanwhile.
 * @param database a connected pg client of a superuser.
 */
export async function fillLedger(database, userId, { rows, from, until }) {
  const { rows: kept } = await database.query('SELECT count(*)::int AS count FROM usage_logs');
  await database.query(
    `SELECT usage_logs_make_partition(month) FROM generate_series(date_trunc('month', $1::timestamptz), $2, '1 month') AS month`,
    [from, until],
  );
  const more = rows - kept[0].count;
  await inBulk(database, async () => {
    for (let first = 0; first < more; first += BATCH) {
      const last = Math.min(first + BATCH, more) - 1;
      await database.query(INSERT_LINES, [first, last, more, from, until, userId, OTHERS]);
    }
    for (const sql of SUMS) await database.query(sql);
  });
  for (const table of TABLES) await database.query(`VACUUM (ANALYZE) ${table}`);
  await database.query('CHECKPOINT');
}

/** Does the work while the tables have no indexes and the server makes no checkpoints, which is several times as fast. */
async function inBulk(database, work) {
  const settings = { max_wal_size: '64GB', checkpoint_timeout: '1h', autovacuum: 'off' };
  for (const [name, value] of Object.entries(settings)) {
    await database.query(`ALTER SYSTEM SET ${name} = '${value}'`);
  }
  await database.query('SELECT pg_reload_conf()');
  await database.query(
    `SET synchronous_commit = off; SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'`,
  );
  const { rows: indexes } = await database.query(INDEXES, [TABLES]);
  for (const { drop } of indexes) await database.query(drop);

  await work();

  for (const { create } of indexes) await database.query(create);
  await database.query('RESET synchronous_commit; RESET maintenance_work_mem; RESET work_mem');
  for (const name of Object.keys(settings)) await database.query(`ALTER SYSTEM RESET ${name}`);
  await database.query('SELECT pg_reload_conf()');
}

/** How each index of some tables is dropped and made again. */
const INDEXES = `
  SELECT CASE WHEN conname IS NULL THEN 'DROP INDEX ' || indexrelid::regclass
              ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', indrelid::regclass, conname) END AS drop,
         CASE WHEN conname IS NULL THEN replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
              ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', indrelid::regclass, conname, pg_get_constraintdef(con.oid))
         END AS create
  FROM pg_index LEFT JOIN pg_constraint AS con ON conindid = indexrelid
  WHERE indrelid = ANY ($1::regclass[])`;

/** Ids are of version 7, as the service makes them: their times are those of the lines. */
const INSERT_LINES = `
  INSERT INTO usage_logs (id, user_id, api_key_id, operation, provider, model, input_tokens, output_tokens, cached_tokens,
                          tokens_used, cost_usd, price_version, ip_address, user_agent, metadata, created_at)
  SELECT uuidv7(at - clock_timestamp()),
         CASE WHEN n % 2 = 0 THEN $6::uuid ELSE md5((n / 2 % $7::int)::text)::uuid END,
         NULL, 'generate', 'openai', 'model-' || n % 3, 100, 50, 0, 150, 0.015, 0, '192.0.2.1', 'bench',
         '{"path": "/api/v1/generate", "method": "POST", "status_code": 200, "end_user": "somebody"}', at
  FROM (SELECT n, $4::timestamptz + ($5::timestamptz - $4::timestamptz) * (n::float8 / $3::int) AS at
        FROM generate_series($1::int, $2::int) AS n) AS line`;

const SUMS = [
  'DELETE FROM usage_hours',
  'DELETE FROM usage_months',
  'DELETE FROM usage_pending',
  `INSERT INTO usage_hours (user_id, hour, api_key_id, operation, provider, model, requests, input_tokens, output_tokens, cost_usd)
   SELECT user_id, date_trunc('hour', created_at, 'UTC'), coalesce(api_key_id, '00000000-0000-0000-0000-000000000000'),
          operation, coalesce(provider, ''), coalesce(model, ''), count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd)
   FROM usage_logs GROUP BY 1, 2, 3, 4, 5, 6`,
  `INSERT INTO usage_months (user_id, scope_id, month, requests, tokens, cost_usd)
   SELECT user_id, user_id, date_trunc('month', created_at, 'UTC') AT TIME ZONE 'UTC', count(*), sum(tokens_used), sum(cost_usd)
   FROM usage_logs GROUP BY 1, 2, 3`,
  `INSERT INTO usage_pending (user_id, meter, amount)
   SELECT user_id, 'tokens', sum(tokens_used) FROM usage_logs GROUP BY 1`,
];
