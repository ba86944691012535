import type { MigrationInterface, QueryRunner } from 'typeorm';

export class PendingPlans1795363200000 implements MigrationInterface {
  name = 'PendingPlans1795363200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "polar_subscriptions" ADD "pending_product_id" text`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "polar_subscriptions" DROP COLUMN "pending_product_id"`);
  }
}
