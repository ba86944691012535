import type { MigrationInterface, QueryRunner } from 'typeorm';

export class LineIfLost1795348900000 implements MigrationInterface {
  name = 'LineIfLost1795348900000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "usage_holds" ADD "line_if_lost" jsonb`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "usage_holds" DROP COLUMN "line_if_lost"`);
  }
}
