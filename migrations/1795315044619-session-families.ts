import type { MigrationInterface, QueryRunner } from 'typeorm';

export class SessionFamilies1795315044619 implements MigrationInterface {
  name = 'SessionFamilies1795315044619';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "attempt_counts" ("key" text NOT NULL, "taken" integer NOT NULL, "last_taken_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_8114af9d1e419ea3ed528c155cb" PRIMARY KEY ("key"))`,
    );
    await runner.query(`ALTER TABLE "sessions" ADD "generation" integer NOT NULL DEFAULT '0'`);
    await runner.query(`ALTER TABLE "sessions" ADD "rotated_at" TIMESTAMP WITH TIME ZONE`);
    // Sessions that are open at this moment count as used when they were made.
    await runner.query(`ALTER TABLE "sessions" ADD "last_used_at" TIMESTAMP WITH TIME ZONE`);
    await runner.query(`UPDATE "sessions" SET "last_used_at" = "created_at"`);
    await runner.query(`ALTER TABLE "sessions" ALTER COLUMN "last_used_at" SET NOT NULL`);
    await runner.query(`ALTER TABLE "sessions" ADD "ip_address" text`);
    await runner.query(`ALTER TABLE "sessions" ADD "user_agent" text`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "sessions" DROP COLUMN "user_agent"`);
    await runner.query(`ALTER TABLE "sessions" DROP COLUMN "ip_address"`);
    await runner.query(`ALTER TABLE "sessions" DROP COLUMN "last_used_at"`);
    await runner.query(`ALTER TABLE "sessions" DROP COLUMN "rotated_at"`);
    await runner.query(`ALTER TABLE "sessions" DROP COLUMN "generation"`);
    await runner.query(`DROP TABLE "attempt_counts"`);
  }
}
