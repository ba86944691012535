import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Makes the part of a month (UTC) that a time falls into, when it is missing. Attaching a table locks out no reader and
 * no writer of the others, which `CREATE TABLE ... PARTITION OF` would. It runs with the rights of its owner, for the
 * service itself need not be allowed to make tables.
 */
const MAKE_PARTITION = `
  CREATE FUNCTION "usage_logs_make_partition"(at timestamptz) RETURNS void LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
  DECLARE
    month timestamptz := date_trunc('month', at);
    part text := 'usage_logs_' || to_char(month, 'YYYY_MM');
  BEGIN
    IF to_regclass(part) IS NOT NULL THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('usage_logs_make_partition'));
    IF to_regclass(part) IS NOT NULL THEN RETURN; END IF;
    EXECUTE format('CREATE TABLE %I (LIKE usage_logs)', part);
    EXECUTE format('ALTER TABLE usage_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   part, month, month + interval '1 month');
  END $$`;

const COLUMNS = `"id" uuid NOT NULL, "user_id" uuid NOT NULL, "api_key_id" uuid, "operation" text NOT NULL, "provider" text, "model" text, "input_tokens" integer NOT NULL, "output_tokens" integer NOT NULL, "tokens_used" integer NOT NULL, "cost_usd" numeric(20,9) NOT NULL, "ip_address" text, "user_agent" text, "metadata" jsonb NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL`;

export class UsageRollUps1795323959739 implements MigrationInterface {
  name = 'UsageRollUps1795323959739';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "usage_logs" RENAME TO "usage_logs_flat"`);
    await runner.query(`ALTER INDEX "IDX_00e6e0715710102f93baf55f12" RENAME TO "usage_logs_flat_index"`);
    await runner.query(
      `CREATE TABLE "usage_logs" (${COLUMNS}, CONSTRAINT "PK_ac691072e815e148db5e74ff80f" PRIMARY KEY ("user_id", "id", "created_at")) PARTITION BY RANGE ("created_at")`,
    );
    await runner.query(
      `CREATE INDEX "IDX_00e6e0715710102f93baf55f12" ON "usage_logs"  ("user_id", "created_at") `,
    );
    await runner.query(MAKE_PARTITION);
    await runner.query(
      `SELECT "usage_logs_make_partition"("month") FROM (SELECT DISTINCT date_trunc('month', "created_at", 'UTC') AS "month" FROM "usage_logs_flat") AS "months"`,
    );
    await runner.query(`INSERT INTO "usage_logs" SELECT * FROM "usage_logs_flat"`);
    await runner.query(`DROP TABLE "usage_logs_flat"`);
    await this.addRollUps(runner);
  }

  /** Their rows are written again and again, by nearly every batch: half-full pages have room for the new versions. */
  private async addRollUps(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "usage_hours" ("user_id" uuid NOT NULL, "hour" TIMESTAMP WITH TIME ZONE NOT NULL, "api_key_id" uuid NOT NULL, "operation" text NOT NULL, "provider" text NOT NULL, "model" text NOT NULL, "requests" bigint NOT NULL, "input_tokens" bigint NOT NULL, "output_tokens" bigint NOT NULL, "cost_usd" numeric(30,9) NOT NULL, CONSTRAINT "PK_ec9638e125293b72a546a7c0a55" PRIMARY KEY ("user_id", "hour", "api_key_id", "operation", "provider", "model")) WITH (fillfactor = 50)`,
    );
    await runner.query(
      `CREATE TABLE "usage_months" ("user_id" uuid NOT NULL, "scope_id" uuid NOT NULL, "month" date NOT NULL, "requests" bigint NOT NULL, "tokens" bigint NOT NULL, "cost_usd" numeric(30,9) NOT NULL, CONSTRAINT "PK_3effea98621c34f316a9243309a" PRIMARY KEY ("user_id", "scope_id", "month")) WITH (fillfactor = 50)`,
    );
    await runner.query(
      `CREATE TABLE "usage_pending" ("user_id" uuid NOT NULL, "meter" text NOT NULL, "amount" numeric(30,0) NOT NULL, "taken" numeric(30,0) NOT NULL DEFAULT '0', CONSTRAINT "PK_599815604e20bc446e53aa21000" PRIMARY KEY ("user_id", "meter")) WITH (fillfactor = 50)`,
    );
    await runner.query(
      `INSERT INTO "usage_hours" SELECT "user_id", date_trunc('hour', "created_at", 'UTC'), coalesce("api_key_id", '00000000-0000-0000-0000-000000000000'), "operation", coalesce("provider", ''), coalesce("model", ''), count(*), sum("input_tokens"), sum("output_tokens"), sum("cost_usd") FROM "usage_logs" GROUP BY 1, 2, 3, 4, 5, 6`,
    );
    await runner.query(
      `INSERT INTO "usage_months" SELECT "user_id", "scope_id", date_trunc('month', "created_at", 'UTC') AT TIME ZONE 'UTC', count(*), sum("tokens_used"), sum("cost_usd") FROM "usage_logs" CROSS JOIN LATERAL (VALUES ("user_id"), ("api_key_id")) AS "scope" ("scope_id") WHERE "scope_id" IS NOT NULL GROUP BY 1, 2, 3`,
    );
    await runner.query(
      `INSERT INTO "usage_pending" ("user_id", "meter", "amount") SELECT "user_id", 'tokens', sum("tokens_used") FROM "usage_logs" GROUP BY 1`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "usage_pending"`);
    await runner.query(`DROP TABLE "usage_months"`);
    await runner.query(`DROP TABLE "usage_hours"`);
    await runner.query(`DROP FUNCTION "usage_logs_make_partition"`);
    await runner.query(
      `CREATE TABLE "usage_logs_flat" (${COLUMNS}, CONSTRAINT "PK_38ed6efac407c7a3f818d90c279" PRIMARY KEY ("id"))`,
    );
    await runner.query(`INSERT INTO "usage_logs_flat" SELECT * FROM "usage_logs"`);
    await runner.query(`DROP TABLE "usage_logs"`);
    await runner.query(`ALTER TABLE "usage_logs_flat" RENAME TO "usage_logs"`);
    await runner.query(
      `CREATE INDEX "IDX_00e6e0715710102f93baf55f12" ON "usage_logs"  ("user_id", "created_at") `,
    );
  }
}
