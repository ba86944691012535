import type { MigrationInterface, QueryRunner } from 'typeorm';

export class PublicPrices1795347600000 implements MigrationInterface {
  name = 'PublicPrices1795347600000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "prices" ADD "public_as_of" date`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "prices" DROP COLUMN "public_as_of"`);
  }
}
