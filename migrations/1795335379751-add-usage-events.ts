import type { MigrationInterface, QueryRunner } from 'typeorm';

export class AddUsageEvents1795335379751 implements MigrationInterface {
  name = 'AddUsageEvents1795335379751';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "usage_events" ("user_id" uuid NOT NULL, "identity" bytea NOT NULL, "fingerprint" bytea NOT NULL, "line_id" uuid NOT NULL, CONSTRAINT "PK_55279c1408db1a01d7f6cdf51d6" PRIMARY KEY ("user_id", "identity"))`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "usage_events"`);
  }
}
