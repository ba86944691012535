import type { MigrationInterface, QueryRunner } from 'typeorm';

export class UsageHolds1795326262069 implements MigrationInterface {
  name = 'UsageHolds1795326262069';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "usage_holds" ("user_id" uuid NOT NULL, "id" uuid NOT NULL, "api_key_id" uuid, "month" date NOT NULL, "tokens" bigint NOT NULL, "cost_usd" numeric(30,9) NOT NULL, "expires_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_f528d92a70cd8a7670168858249" PRIMARY KEY ("user_id", "id"))`,
    );
    await runner.query(`CREATE INDEX "IDX_e7224fe02dd23cd68f486967f8" ON "usage_holds"  ("expires_at") `);
    await runner.query(`ALTER TABLE "users" ADD "monthly_budget_usd" numeric(18,6)`);
    await runner.query(`ALTER TABLE "api_keys" ADD "monthly_budget_usd" numeric(18,6)`);
    await runner.query(`ALTER TABLE "usage_months" ADD "held_tokens" bigint NOT NULL DEFAULT '0'`);
    await runner.query(`ALTER TABLE "usage_months" ADD "held_usd" numeric(30,9) NOT NULL DEFAULT '0'`);
    await runner.query(`ALTER TABLE "usage_months" ADD "budget_alert" smallint NOT NULL DEFAULT '0'`);
    await runner.query(`ALTER TABLE "usage_months" ADD "quota_alert" smallint NOT NULL DEFAULT '0'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "usage_months" DROP COLUMN "quota_alert"`);
    await runner.query(`ALTER TABLE "usage_months" DROP COLUMN "budget_alert"`);
    await runner.query(`ALTER TABLE "usage_months" DROP COLUMN "held_usd"`);
    await runner.query(`ALTER TABLE "usage_months" DROP COLUMN "held_tokens"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "monthly_budget_usd"`);
    await runner.query(`ALTER TABLE "users" DROP COLUMN "monthly_budget_usd"`);
    await runner.query(`DROP INDEX "public"."IDX_e7224fe02dd23cd68f486967f8"`);
    await runner.query(`DROP TABLE "usage_holds"`);
  }
}
