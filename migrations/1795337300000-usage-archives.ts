import type { MigrationInterface, QueryRunner } from 'typeorm';

export class UsageArchives1795337300000 implements MigrationInterface {
  name = 'UsageArchives1795337300000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "usage_archives" ("month" date NOT NULL, "part" integer NOT NULL, "lines" bigint NOT NULL, "tokens" numeric(30,0) NOT NULL, "cost_usd" numeric(30,9) NOT NULL, "archived_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_271675ff19385f64a49541b48ea" PRIMARY KEY ("month", "part"))`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "usage_archives"`);
  }
}
