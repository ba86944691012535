import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Prices1795328729897 implements MigrationInterface {
  name = 'Prices1795328729897';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "prices" ("id" uuid NOT NULL, "version" integer NOT NULL, "operation" text NOT NULL, "provider" text, "model" text, "input_usd_per_million" numeric(18,6) NOT NULL, "output_usd_per_million" numeric(18,6) NOT NULL, "cached_usd_per_million" numeric(18,6) NOT NULL, "request_usd" numeric(18,6) NOT NULL, "effective_from" TIMESTAMP WITH TIME ZONE NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "UQ_c820d5bf3ebc7222b138d3cd811" UNIQUE ("version"), CONSTRAINT "PK_2e40b9e4e631a53cd514d82ccd2" PRIMARY KEY ("id"))`,
    );
    await runner.query(`ALTER TABLE "usage_logs" ADD "cached_tokens" integer NOT NULL DEFAULT '0'`);
    await runner.query(`ALTER TABLE "usage_logs" ADD "price_version" integer NOT NULL DEFAULT '0'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "usage_logs" DROP COLUMN "price_version"`);
    await runner.query(`ALTER TABLE "usage_logs" DROP COLUMN "cached_tokens"`);
    await runner.query(`DROP TABLE "prices"`);
  }
}
