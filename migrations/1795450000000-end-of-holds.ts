import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Ends holds, each found by its key whatever PostgreSQL thinks of the table: it is often empty when statistics are
 * taken, and a statement that was planned for an empty table reads all of it, with every row that was deleted since.
 * Rows are deleted in the order of that index, so that two who end the same holds cannot wait for each other.
 */
const END = `
  CREATE FUNCTION "usage_holds_end"(user_ids uuid[], hold_ids uuid[]) RETURNS SETOF "usage_holds" LANGUAGE plpgsql
  SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  DECLARE
    ended record;
  BEGIN
    FOR ended IN
      SELECT user_id, array_agg(id) AS ids FROM unnest(user_ids, hold_ids) AS held (user_id, id) GROUP BY user_id ORDER BY user_id
    LOOP
      RETURN QUERY DELETE FROM usage_holds AS held WHERE held.user_id = ended.user_id AND held.id = ANY (ended.ids) RETURNING *;
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
