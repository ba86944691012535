import type { MigrationInterface, QueryRunner } from 'typeorm';

/** It is an address, and `_at` is for times. */
export class LeakUrl1795340100000 implements MigrationInterface {
  name = 'LeakUrl1795340100000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "api_keys" RENAME COLUMN "leaked_at" TO "leak_url"`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "api_keys" RENAME COLUMN "leak_url" TO "leaked_at"`);
  }
}
