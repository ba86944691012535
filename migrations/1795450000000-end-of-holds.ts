import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Ends holds, each found by its key whatever PostgreSQL thinks of the table: it is often empty when statistics are
 * taken, and a statement that was planned for an empty table reads all of it, with every row that was deleted since.
 * Rows are deleted in order, so that two who end the same holds cannot wait for each other.
 */
const END = `
  CREATE FUNCTION "usage_holds_end"(user_ids uuid[], hold_ids uuid[])
  RETURNS TABLE (user_id uuid, id uuid, api_key_id uuid, month date, tokens bigint, cost_usd numeric)
  LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  #variable_conflict use_column
  DECLARE
    ended record;
  BEGIN
    FOR ended IN SELECT * FROM unnest(user_ids, hold_ids) AS ended (user_id, id) ORDER BY user_id, id LOOP
      RETURN QUERY DELETE FROM usage_holds AS held WHERE held.user_id = ended.user_id AND held.id = ended.id
                   RETURNING held.user_id, held.id, held.api_key_id, held.month, held.tokens::bigint, held.cost_usd::numeric;
    END LOOP;
  END $$`;

export class EndOfHolds1795450000000 implements MigrationInterface {
  name = 'EndOfHolds1795450000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(END);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP FUNCTION "usage_holds_end"`);
  }
}
