import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Initial1795312484266 implements MigrationInterface {
  name = 'Initial1795312484266';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "users" ("id" uuid NOT NULL, "email" text NOT NULL, "password_hash" text NOT NULL, "first_name" text, "last_name" text, "company" text, "role" text NOT NULL DEFAULT 'user', "is_active" boolean NOT NULL DEFAULT true, "is_verified" boolean NOT NULL DEFAULT false, "two_factor_enabled" boolean NOT NULL DEFAULT false, "billing_tier" text NOT NULL DEFAULT 'free', "tier_override" text, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, "updated_at" TIMESTAMP WITH TIME ZONE NOT NULL, "last_login" TIMESTAMP WITH TIME ZONE, CONSTRAINT "UQ_97672ac88f789774dd47f7c8be3" UNIQUE ("email"), CONSTRAINT "PK_a3ffb1c0c8416b9fc6f907b7433" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE TABLE "api_keys" ("id" uuid NOT NULL, "user_id" uuid NOT NULL, "name" text NOT NULL, "key_hash" text NOT NULL, "key_prefix" text NOT NULL, "is_active" boolean NOT NULL DEFAULT true, "permissions" jsonb NOT NULL DEFAULT '{}', "rate_limit_per_minute" integer NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, "last_used" TIMESTAMP WITH TIME ZONE, "expires_at" TIMESTAMP WITH TIME ZONE, CONSTRAINT "UQ_57384430aa1959f4578046c9b81" UNIQUE ("key_hash"), CONSTRAINT "PK_5c8a79801b44bd27b79228e1dad" PRIMARY KEY ("id"))`,
    );
    await runner.query(`CREATE INDEX "IDX_a3baee01d8408cd3c0f89a9a97" ON "api_keys"  ("user_id") `);
    await runner.query(
      `CREATE TABLE "one_time_tokens" ("id" uuid NOT NULL, "user_id" uuid NOT NULL, "purpose" text NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, "expires_at" TIMESTAMP WITH TIME ZONE NOT NULL, "used_at" TIMESTAMP WITH TIME ZONE, CONSTRAINT "PK_8e470cc9ffc1b2afa054304db17" PRIMARY KEY ("id"))`,
    );
    await runner.query(`CREATE INDEX "IDX_0dc2deee64e514ad6f7e69504e" ON "one_time_tokens"  ("user_id") `);
    await runner.query(
      `CREATE TABLE "sessions" ("id" uuid NOT NULL, "user_id" uuid NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_3238ef96f18b355b671619111bc" PRIMARY KEY ("id"))`,
    );
    await runner.query(`CREATE INDEX "IDX_085d540d9f418cfbdc7bd55bb1" ON "sessions"  ("user_id") `);
    await runner.query(
      `CREATE TABLE "usage_logs" ("id" uuid NOT NULL, "user_id" uuid NOT NULL, "api_key_id" uuid, "operation" text NOT NULL, "provider" text, "model" text, "input_tokens" integer NOT NULL, "output_tokens" integer NOT NULL, "tokens_used" integer NOT NULL, "cost_usd" numeric(20,9) NOT NULL, "ip_address" text, "user_agent" text, "metadata" jsonb NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_38ed6efac407c7a3f818d90c279" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE INDEX "IDX_00e6e0715710102f93baf55f12" ON "usage_logs"  ("user_id", "created_at") `,
    );
    await runner.query(
      `ALTER TABLE "api_keys" ADD CONSTRAINT "FK_a3baee01d8408cd3c0f89a9a973" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE RESTRICT ON UPDATE NO ACTION`,
    );
    await runner.query(
      `ALTER TABLE "one_time_tokens" ADD CONSTRAINT "FK_0dc2deee64e514ad6f7e69504e1" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE NO ACTION`,
    );
    await runner.query(
      `ALTER TABLE "sessions" ADD CONSTRAINT "FK_085d540d9f418cfbdc7bd55bb19" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE NO ACTION`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "sessions" DROP CONSTRAINT "FK_085d540d9f418cfbdc7bd55bb19"`);
    await runner.query(`ALTER TABLE "one_time_tokens" DROP CONSTRAINT "FK_0dc2deee64e514ad6f7e69504e1"`);
    await runner.query(`ALTER TABLE "api_keys" DROP CONSTRAINT "FK_a3baee01d8408cd3c0f89a9a973"`);
    await runner.query(`DROP INDEX "public"."IDX_00e6e0715710102f93baf55f12"`);
    await runner.query(`DROP TABLE "usage_logs"`);
    await runner.query(`DROP INDEX "public"."IDX_085d540d9f418cfbdc7bd55bb1"`);
    await runner.query(`DROP TABLE "sessions"`);
    await runner.query(`DROP INDEX "public"."IDX_0dc2deee64e514ad6f7e69504e"`);
    await runner.query(`DROP TABLE "one_time_tokens"`);
    await runner.query(`DROP INDEX "public"."IDX_a3baee01d8408cd3c0f89a9a97"`);
    await runner.query(`DROP TABLE "api_keys"`);
    await runner.query(`DROP TABLE "users"`);
  }
}
