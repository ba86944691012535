import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Refuses every change of an event but one: to give it its place in the chain, once. It stops mistakes and injected SQL, not the owner of the table. */
const APPEND_ONLY = `
  CREATE FUNCTION "audit_events_append_only"() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF TG_OP = 'UPDATE' THEN
      IF OLD.position IS NULL AND to_jsonb(NEW) - '{position,link}'::text[] = to_jsonb(OLD) - '{position,link}'::text[] THEN
        RETURN NEW;
      END IF;
    END IF;
    RAISE EXCEPTION 'audit_events is append-only' USING ERRCODE = 'restrict_violation';
  END $$`;

export class AddAudit1795315845381 implements MigrationInterface {
  name = 'AddAudit1795315845381';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE "audit_events" ("id" uuid NOT NULL, "occurred_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL, "action" text NOT NULL, "actor" text, "subject_id" uuid, "target_id" uuid, "result" text NOT NULL, "request_id" text, "details_digest" bytea NOT NULL, "seen_position" bigint NOT NULL, "seen_link" bytea NOT NULL, "mac" bytea NOT NULL, "position" bigint, "link" bytea, CONSTRAINT "UQ_ad96e3667423271c93fc9bc8d57" UNIQUE ("position"), CONSTRAINT "PK_910f64d901a5c3e9878f0d4a407" PRIMARY KEY ("id"))`,
    );
    await runner.query(`CREATE INDEX "IDX_4e139cc590fd5127ecc451472e" ON "audit_events"  ("occurred_at") `);
    await runner.query(`CREATE INDEX "IDX_04c7c044146c6632491a370fc0" ON "audit_events"  ("actor", "id") `);
    await runner.query(
      `CREATE INDEX "IDX_af9169b1323147604093181e56" ON "audit_events"  ("subject_id", "id") `,
    );
    await runner.query(
      `CREATE TABLE "audit_details" ("event_id" uuid NOT NULL, "ip" text, "user_agent" text, "details" jsonb NOT NULL, "salt" bytea NOT NULL, CONSTRAINT "PK_34a9bbd0d5a39b4281277dc3c13" PRIMARY KEY ("event_id"))`,
    );
    await runner.query(
      `CREATE TABLE "audit_head" ("position" bigint NOT NULL, "link" bytea NOT NULL, "mac" bytea NOT NULL, CONSTRAINT "PK_d9d9d3f53f9bee0dc52c69e7e75" PRIMARY KEY ("position"))`,
    );
    await runner.query(
      `ALTER TABLE "audit_details" ADD CONSTRAINT "FK_34a9bbd0d5a39b4281277dc3c13" FOREIGN KEY ("event_id") REFERENCES "audit_events"("id") ON DELETE RESTRICT ON UPDATE NO ACTION`,
    );
    await runner.query(`INSERT INTO "audit_head" ("position", "link", "mac") VALUES (0, '', '')`);
    await runner.query(APPEND_ONLY);
    await runner.query(
      `CREATE TRIGGER "audit_events_rows" BEFORE UPDATE OR DELETE ON "audit_events" FOR EACH ROW EXECUTE FUNCTION "audit_events_append_only"()`,
    );
    await runner.query(
      `CREATE TRIGGER "audit_events_truncate" BEFORE TRUNCATE ON "audit_events" FOR EACH STATEMENT EXECUTE FUNCTION "audit_events_append_only"()`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "audit_details" DROP CONSTRAINT "FK_34a9bbd0d5a39b4281277dc3c13"`);
    await runner.query(`DROP TABLE "audit_head"`);
    await runner.query(`DROP TABLE "audit_details"`);
    await runner.query(`DROP INDEX "public"."IDX_af9169b1323147604093181e56"`);
    await runner.query(`DROP INDEX "public"."IDX_04c7c044146c6632491a370fc0"`);
    await runner.query(`DROP INDEX "public"."IDX_4e139cc590fd5127ecc451472e"`);
    await runner.query(`DROP TABLE "audit_events"`);
    await runner.query(`DROP FUNCTION "audit_events_append_only"`);
  }
}
