import type { MigrationInterface, QueryRunner } from 'typeorm';

export class AddBilling1795325105249 implements MigrationInterface {
  name = 'AddBilling1795325105249';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "billing_accounts" ("user_id" uuid NOT NULL, "polar_customer_id" text, "customer_problem" text, "state" jsonb, "subscription" jsonb, "sync_at" TIMESTAMP WITH TIME ZONE, "sync_failures" integer NOT NULL DEFAULT '0', CONSTRAINT "UQ_e67d2827d9af35569460e960999" UNIQUE ("polar_customer_id"), CONSTRAINT "PK_00a4edfc5717bd39f245042d31a" PRIMARY KEY ("user_id"))`,
    );
    await runner.query(`CREATE INDEX "IDX_ab74f4e3982699a4ea7c6d2622" ON "billing_accounts"  ("sync_at") `);
    await runner.query(
      `CREATE TABLE "billing_events" ("id" uuid NOT NULL, "webhook_id" text NOT NULL, "type" text NOT NULL, "object_id" text NOT NULL, "event_at" TIMESTAMP WITH TIME ZONE NOT NULL, "received_at" TIMESTAMP WITH TIME ZONE NOT NULL, "user_id" uuid, "polar_customer_id" text, "status" text NOT NULL, "payload" text, "error" text, CONSTRAINT "UQ_106813143ee19c16a36bddcf5b0" UNIQUE ("type", "object_id", "event_at"), CONSTRAINT "UQ_21b2dfd6820e54ef00590e5346a" UNIQUE ("webhook_id"), CONSTRAINT "PK_9a4a4a1b1f55bbc868f6a76a597" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE INDEX "IDX_2be7c94551650813c458b90fb5" ON "billing_events"  ("polar_customer_id") `,
    );
    await runner.query(
      `CREATE INDEX "IDX_83219400a785d13e1a5594a037" ON "billing_events"  ("user_id", "id") `,
    );
    await runner.query(
      `CREATE TABLE "billing_tasks" ("name" text NOT NULL, "due_at" TIMESTAMP WITH TIME ZONE NOT NULL, "succeeded_at" TIMESTAMP WITH TIME ZONE, "error" text, "memory" jsonb, CONSTRAINT "PK_ea6603ecbb54605cb6e1bf4bb64" PRIMARY KEY ("name"))`,
    );
    await runner.query(
      `CREATE TABLE "polar_checkouts" ("user_id" uuid NOT NULL, "product_id" text NOT NULL, "url" text, "expires_at" TIMESTAMP WITH TIME ZONE NOT NULL, CONSTRAINT "PK_185f5995d9b034eaeae79daeffd" PRIMARY KEY ("user_id", "product_id"))`,
    );
    await runner.query(
      `CREATE TABLE "polar_subscriptions" ("id" text NOT NULL, "user_id" uuid NOT NULL, "status" text NOT NULL, "product_id" text NOT NULL, "tier" text, "cancel_at_period_end" boolean NOT NULL, "period_start" text, "period_end" text, "at_us" double precision NOT NULL, CONSTRAINT "PK_0c7674c1345db104ffd06f7807a" PRIMARY KEY ("id"))`,
    );
    await runner.query(
      `CREATE INDEX "IDX_4120cf8ae1d177b195b78f4b1f" ON "polar_subscriptions"  ("user_id") `,
    );
    await runner.query(
      `ALTER TABLE "billing_accounts" ADD CONSTRAINT "FK_00a4edfc5717bd39f245042d31a" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE RESTRICT ON UPDATE NO ACTION`,
    );
    await runner.query(
      `ALTER TABLE "polar_checkouts" ADD CONSTRAINT "FK_58043e0e86a7a84f2b2d9716aa4" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE RESTRICT ON UPDATE NO ACTION`,
    );
    await runner.query(
      `ALTER TABLE "polar_subscriptions" ADD CONSTRAINT "FK_4120cf8ae1d177b195b78f4b1fe" FOREIGN KEY ("user_id") REFERENCES "billing_accounts"("user_id") ON DELETE RESTRICT ON UPDATE NO ACTION`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "polar_subscriptions" DROP CONSTRAINT "FK_4120cf8ae1d177b195b78f4b1fe"`);
    await runner.query(`ALTER TABLE "polar_checkouts" DROP CONSTRAINT "FK_58043e0e86a7a84f2b2d9716aa4"`);
    await runner.query(`ALTER TABLE "billing_accounts" DROP CONSTRAINT "FK_00a4edfc5717bd39f245042d31a"`);
    await runner.query(`DROP INDEX "public"."IDX_4120cf8ae1d177b195b78f4b1f"`);
    await runner.query(`DROP TABLE "polar_subscriptions"`);
    await runner.query(`DROP TABLE "polar_checkouts"`);
    await runner.query(`DROP TABLE "billing_tasks"`);
    await runner.query(`DROP INDEX "public"."IDX_83219400a785d13e1a5594a037"`);
    await runner.query(`DROP INDEX "public"."IDX_2be7c94551650813c458b90fb5"`);
    await runner.query(`DROP TABLE "billing_events"`);
    await runner.query(`DROP INDEX "public"."IDX_ab74f4e3982699a4ea7c6d2622"`);
    await runner.query(`DROP TABLE "billing_accounts"`);
  }
}
