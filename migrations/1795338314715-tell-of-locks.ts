import type { MigrationInterface, QueryRunner } from 'typeorm';

export class TellOfLocks1795338314715 implements MigrationInterface {
  name = 'TellOfLocks1795338314715';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "attempt_counts" ADD "is_told" boolean NOT NULL DEFAULT false`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "attempt_counts" DROP COLUMN "is_told"`);
  }
}
