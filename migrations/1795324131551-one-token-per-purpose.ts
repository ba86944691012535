import type { MigrationInterface, QueryRunner } from 'typeorm';

export class OneTokenPerPurpose1795324131551 implements MigrationInterface {
  name = 'OneTokenPerPurpose1795324131551';

  async up(runner: QueryRunner): Promise<void> {
    // Of several tokens of one purpose the last is the one that works.
    await runner.query(
      `DELETE FROM "one_time_tokens" AS "earlier" USING "one_time_tokens" AS "later" WHERE "earlier"."user_id" = "later"."user_id" AND "earlier"."purpose" = "later"."purpose" AND "earlier"."id" < "later"."id"`,
    );
    await runner.query(`DROP INDEX "public"."IDX_0dc2deee64e514ad6f7e69504e"`);
    await runner.query(`ALTER TABLE "one_time_tokens" ADD "email" text`);
    await runner.query(
      `CREATE INDEX "IDX_0b32b84a4bd1de4ee3f8f89d68" ON "one_time_tokens"  ("user_id") WHERE purpose = 'undo_email'`,
    );
    await runner.query(
      `CREATE UNIQUE INDEX "IDX_73f2f82cd78536ca3a7396af5e" ON "one_time_tokens"  ("user_id", "purpose") WHERE purpose <> 'undo_email'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "public"."IDX_73f2f82cd78536ca3a7396af5e"`);
    await runner.query(`DROP INDEX "public"."IDX_0b32b84a4bd1de4ee3f8f89d68"`);
    await runner.query(`ALTER TABLE "one_time_tokens" DROP COLUMN "email"`);
    await runner.query(
      `CREATE INDEX "IDX_0dc2deee64e514ad6f7e69504e" ON "one_time_tokens" USING btree ("user_id") `,
    );
  }
}
