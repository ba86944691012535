import type { MigrationInterface, QueryRunner } from 'typeorm';

export class KeysByState1795363311997 implements MigrationInterface {
  name = 'KeysByState1795363311997';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "public"."IDX_a3baee01d8408cd3c0f89a9a97"`);
    await runner.query(
      `CREATE INDEX "IDX_409f6fea2e2729fb665f1f9cc4" ON "api_keys"  ("user_id", "is_active", "id") `,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "public"."IDX_409f6fea2e2729fb665f1f9cc4"`);
    await runner.query(
      `CREATE INDEX "IDX_a3baee01d8408cd3c0f89a9a97" ON "api_keys" USING btree ("user_id") `,
    );
  }
}
