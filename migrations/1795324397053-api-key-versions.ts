import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ApiKeyVersions1795324397053 implements MigrationInterface {
  name = 'ApiKeyVersions1795324397053';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "api_key_versions" ("id" uuid NOT NULL, "api_key_id" uuid NOT NULL, "key_hash" text NOT NULL, "key_prefix" text NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, "expires_at" TIMESTAMP WITH TIME ZONE, "last_used" TIMESTAMP WITH TIME ZONE, CONSTRAINT "UQ_d5312e0dece2bd89ee30f496952" UNIQUE ("key_hash"), CONSTRAINT "PK_e9c15df5b46c2770d963d8c70d6" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE INDEX "IDX_789f0a53ce13e59f93e5f1ae7e" ON "api_key_versions"  ("api_key_id") `,
    );
    await runner.query(
      `CREATE UNIQUE INDEX "IDX_00f6861462a07cae9de9577f1e" ON "api_key_versions"  ("api_key_id") WHERE expires_at IS NULL`,
    );
    // A key's first secret has the key's own id.
    await runner.query(
      `INSERT INTO "api_key_versions" ("id", "api_key_id", "key_hash", "key_prefix", "created_at", "last_used")
       SELECT "id", "id", "key_hash", "key_prefix", "created_at", "last_used" FROM "api_keys"`,
    );
    await runner.query(`ALTER TABLE "api_keys" DROP CONSTRAINT "UQ_57384430aa1959f4578046c9b81"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "key_hash"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "key_prefix"`);
    await runner.query(`ALTER TABLE "api_keys" ADD "environment" text NOT NULL DEFAULT 'live'`);
    await runner.query(`ALTER TABLE "api_keys" ADD "service_permissions" text array NOT NULL DEFAULT '{}'`);
    await runner.query(`ALTER TABLE "api_keys" ADD "allowed_ips" text array NOT NULL DEFAULT '{}'`);
    await runner.query(`ALTER TABLE "api_keys" ADD "metadata" jsonb NOT NULL DEFAULT '{}'`);
    await runner.query(
      `ALTER TABLE "api_key_versions" ADD CONSTRAINT "FK_789f0a53ce13e59f93e5f1ae7e9" FOREIGN KEY ("api_key_id") REFERENCES "api_keys"("id") ON DELETE CASCADE ON UPDATE NO ACTION`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "api_key_versions" DROP CONSTRAINT "FK_789f0a53ce13e59f93e5f1ae7e9"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "metadata"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "allowed_ips"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "service_permissions"`);
    await runner.query(`ALTER TABLE "api_keys" DROP COLUMN "environment"`);
    await runner.query(`ALTER TABLE "api_keys" ADD "key_prefix" text`);
    await runner.query(`ALTER TABLE "api_keys" ADD "key_hash" text`);
    // Of each key only the current secret stays.
    await runner.query(
      `UPDATE "api_keys" SET "key_prefix" = version."key_prefix", "key_hash" = version."key_hash"
       FROM "api_key_versions" version WHERE version."api_key_id" = "api_keys"."id" AND version."expires_at" IS NULL`,
    );
    await runner.query(
      `ALTER TABLE "api_keys" ALTER COLUMN "key_prefix" SET NOT NULL, ALTER COLUMN "key_hash" SET NOT NULL`,
    );
    await runner.query(
      `ALTER TABLE "api_keys" ADD CONSTRAINT "UQ_57384430aa1959f4578046c9b81" UNIQUE ("key_hash")`,
    );
    await runner.query(`DROP INDEX "public"."IDX_00f6861462a07cae9de9577f1e"`);
    await runner.query(`DROP INDEX "public"."IDX_789f0a53ce13e59f93e5f1ae7e"`);
    await runner.query(`DROP TABLE "api_key_versions"`);
  }
}
