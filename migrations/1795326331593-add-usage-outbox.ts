import type { MigrationInterface, QueryRunner } from 'typeorm';

export class AddUsageOutbox1795326331593 implements MigrationInterface {
  name = 'AddUsageOutbox1795326331593';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "usage_comparisons" ("user_id" uuid NOT NULL, "meter" text NOT NULL, "taken" numeric(30,0) NOT NULL, "polar" numeric(30,0) NOT NULL, "drift" numeric(30,0) NOT NULL, "checked_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_8f6525cc2f9c36fa85d0ae2782f" PRIMARY KEY ("user_id", "meter"))`,
    );
    await runner.query(
      `CREATE INDEX "IDX_cd73d92006156d059a0bcd74a6" ON "usage_comparisons"  ("drift") WHERE drift <> 0`,
    );
    await runner.query(
      `CREATE TABLE "usage_outbox" ("id" uuid NOT NULL, "user_id" uuid NOT NULL, "meter" text NOT NULL, "amount" bigint NOT NULL, "created_at" TIMESTAMP WITH TIME ZONE NOT NULL, "status" text NOT NULL, "attempts" integer NOT NULL DEFAULT '0', "next_attempt_at" TIMESTAMP WITH TIME ZONE NOT NULL, "sent_at" TIMESTAMP WITH TIME ZONE, "error" text, CONSTRAINT "PK_b7f43365e695f8c819047d7e52c" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE INDEX "IDX_11cbfeebf5b57fea459f796920" ON "usage_outbox"  ("user_id", "meter") `,
    );
    await runner.query(
      `CREATE INDEX "IDX_7d9d3f16cfaa31f26151d16749" ON "usage_outbox"  ("status", "next_attempt_at") WHERE status <> 'sent'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "public"."IDX_7d9d3f16cfaa31f26151d16749"`);
    await runner.query(`DROP INDEX "public"."IDX_11cbfeebf5b57fea459f796920"`);
    await runner.query(`DROP TABLE "usage_outbox"`);
    await runner.query(`DROP INDEX "public"."IDX_cd73d92006156d059a0bcd74a6"`);
    await runner.query(`DROP TABLE "usage_comparisons"`);
  }
}
