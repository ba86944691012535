import type { MigrationInterface, QueryRunner } from 'typeorm';

export class AddIdempotencyKeys1795324052181 implements MigrationInterface {
  name = 'AddIdempotencyKeys1795324052181';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "idempotency_keys" ("user_id" uuid NOT NULL, "key_hash" bytea NOT NULL, "fingerprint" bytea NOT NULL, "request_id" uuid NOT NULL, "reply" bytea, "expires_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_91ddc34863cd4360f14ab7fb9d6" PRIMARY KEY ("user_id", "key_hash"))`,
    );
    await runner.query(
      `CREATE INDEX "IDX_e5fc0731b6752a8e9194fa265e" ON "idempotency_keys"  ("expires_at") `,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "public"."IDX_e5fc0731b6752a8e9194fa265e"`);
    await runner.query(`DROP TABLE "idempotency_keys"`);
  }
}
