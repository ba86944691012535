import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What it does stands at the first of these, in `1795323959739-usage-roll-ups.ts`. */
const makePartition = (searchPath: string, schema: string): string => `
  CREATE OR REPLACE FUNCTION "usage_logs_make_partition"(at timestamptz) RETURNS void LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = ${searchPath} SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
  DECLARE
    month timestamptz := date_trunc('month', at);
    part text := 'usage_logs_' || to_char(month, 'YYYY_MM');
  BEGIN
    IF to_regclass('${schema}' || part) IS NOT NULL THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('usage_logs_make_partition'));
    IF to_regclass('${schema}' || part) IS NOT NULL THEN RETURN; END IF;
    EXECUTE format('CREATE TABLE ${schema}%I (LIKE ${schema}usage_logs)', part);
    EXECUTE format('ALTER TABLE ${schema}usage_logs ATTACH PARTITION ${schema}%I FOR VALUES FROM (%L) TO (%L)',
                   part, month, month + interval '1 month');
  END $$`;

/** It runs with the rights of the owner, so nothing that somebody may have made in `public` may stand in for what it calls. */
export class PartitionSearchPath1795341700000 implements MigrationInterface {
  name = 'PartitionSearchPath1795341700000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(makePartition('pg_catalog, pg_temp', 'public.'));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(makePartition('public, pg_temp', ''));
  }
}
