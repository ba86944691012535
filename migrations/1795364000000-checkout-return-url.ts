import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CheckoutReturnUrl1795364000000 implements MigrationInterface {
  name = 'CheckoutReturnUrl1795364000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "polar_checkouts" ADD "return_url" text`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "polar_checkouts" DROP COLUMN "return_url"`);
  }
}
