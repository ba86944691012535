import type { MigrationInterface, QueryRunner } from 'typeorm';

export class AddTwoFactor1795325153469 implements MigrationInterface {
  name = 'AddTwoFactor1795325153469';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "two_factors" ("id" uuid NOT NULL, "user_id" uuid NOT NULL, "key_id" text NOT NULL, "sealed" bytea NOT NULL, "last_step" integer NOT NULL DEFAULT '0', "backup_salt" bytea NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, "enabled_at" TIMESTAMP WITH TIME ZONE, "reset_at" TIMESTAMP WITH TIME ZONE, "reset_id" uuid, CONSTRAINT "UQ_3f47170af105c4225893631e12d" UNIQUE ("reset_id"), CONSTRAINT "PK_98506732893312bedd8218c4a48" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE UNIQUE INDEX "IDX_e26b0df1985a27bdb8956dc899" ON "two_factors"  ("user_id") WHERE enabled_at IS NULL`,
    );
    await runner.query(
      `CREATE UNIQUE INDEX "IDX_5176c7b613a0cfffa38bde3cd6" ON "two_factors"  ("user_id") WHERE enabled_at IS NOT NULL`,
    );
    await runner.query(
      `CREATE TABLE "backup_codes" ("id" uuid NOT NULL, "two_factor_id" uuid NOT NULL, "hash" bytea NOT NULL, "used_at" TIMESTAMP WITH TIME ZONE, CONSTRAINT "UQ_1db82b11a42327f518e171c0bf7" UNIQUE ("two_factor_id", "hash"), CONSTRAINT "PK_34ab957382dbc57e8fb53f1638f" PRIMARY KEY ("id"))`,
    );
    await runner.query(`ALTER TABLE "sessions" ADD "second_factor_at" TIMESTAMP WITH TIME ZONE`);
    await runner.query(
      `ALTER TABLE "two_factors" ADD CONSTRAINT "FK_2da130a1f2b816d0c2d0318a3b6" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE NO ACTION`,
    );
    await runner.query(
      `ALTER TABLE "backup_codes" ADD CONSTRAINT "FK_94af13f74413b328b779ffb22b9" FOREIGN KEY ("two_factor_id") REFERENCES "two_factors"("id") ON DELETE CASCADE ON UPDATE NO ACTION`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "backup_codes" DROP CONSTRAINT "FK_94af13f74413b328b779ffb22b9"`);
    await runner.query(`ALTER TABLE "two_factors" DROP CONSTRAINT "FK_2da130a1f2b816d0c2d0318a3b6"`);
    await runner.query(`ALTER TABLE "sessions" DROP COLUMN "second_factor_at"`);
    await runner.query(`DROP TABLE "backup_codes"`);
    await runner.query(`DROP INDEX "public"."IDX_5176c7b613a0cfffa38bde3cd6"`);
    await runner.query(`DROP INDEX "public"."IDX_e26b0df1985a27bdb8956dc899"`);
    await runner.query(`DROP TABLE "two_factors"`);
  }
}
