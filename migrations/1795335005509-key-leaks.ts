import type { MigrationInterface, QueryRunner } from 'typeorm';

export class KeyLeaks1795335005509 implements MigrationInterface {
  name = 'KeyLeaks1795335005509';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "api_keys" ADD "compromised_at" TIMESTAMP WITH TIME ZONE`);
    await runner.query(`ALTER TABLE "api_keys" ADD "leaked_at" text`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "leaked_at"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "compromised_at"`);
  }
}
