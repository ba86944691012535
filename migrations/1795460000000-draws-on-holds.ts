import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Takes off holds what the calls consumed that share them. Each is found by its key, and they are locked in order, as
 * `usage_holds_end` has it. A hold that is gone takes nothing off its month.
 */
const DRAW = `
  CREATE FUNCTION "usage_holds_draw"(user_ids uuid[], hold_ids uuid[], amounts bigint[], costs numeric[])
  RETURNS TABLE (user_id uuid, api_key_id uuid, month date, tokens bigint, cost_usd numeric)
  LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  #variable_conflict use_column
  DECLARE
    drawn record;
  BEGIN
    FOR drawn IN SELECT * FROM unnest(user_ids, hold_ids, amounts, costs) AS drawn (user_id, id, tokens, cost_usd)
                 ORDER BY user_id, id LOOP
      RETURN QUERY UPDATE usage_holds AS held
                   SET tokens = held.tokens - drawn.tokens, cost_usd = held.cost_usd - drawn.cost_usd
                   WHERE held.user_id = drawn.user_id AND held.id = drawn.id
                   RETURNING held.user_id, held.api_key_id, held.month, drawn.tokens, drawn.cost_usd;
    END LOOP;
  END $$`;

export class DrawsOnHolds1795460000000 implements MigrationInterface {
  name = 'DrawsOnHolds1795460000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(DRAW);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION "usage_holds_draw"`);
  }
}
