import type { MigrationInterface, QueryRunner } from 'typeorm';

export class HoldsOfServices1795347633683 implements MigrationInterface {
  name = 'HoldsOfServices1795347633683';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "usage_holds" ADD "served_elsewhere" jsonb`);
    await runner.query(
      `CREATE INDEX "IDX_a13ce125c72309ec7064d0da33" ON "usage_holds"  ("id") WHERE served_elsewhere IS NOT NULL`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "public"."IDX_a13ce125c72309ec7064d0da33"`);
    await runner.query(`ALTER TABLE "usage_holds" DROP COLUMN "served_elsewhere"`);
  }
}
