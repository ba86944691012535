import type { DataSource } from 'typeorm';
import { migrateJobs } from '../jobs/pg-boss';
import { grantApplicationRights } from './application-role';

/** Any constant does: it only has to be the same in every process of this service. */
const MIGRATION_LOCK = 7_263_951_840;

/**
 * Brings the schema up to date, that of the job queue and the rights of the service's role included. Of several processes that start at once, one migrates
 * and the others wait for it: the lock belongs to a transaction, so it ends with its holder and works through a
 * transaction pooler.
 * @param dataSource of the owner of the tables.
 * @param applicationUrl by which the service connects, when it has a role of its own.
 * @returns the names of the migrations that ran here.
 */
export async function migrate(dataSource: DataSource, applicationUrl?: string): Promise<string[]> {
  return dataSource.transaction(async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    const ran = await dataSource.runMigrations({ transaction: 'each' });
    await migrateJobs(dataSource);
    if (applicationUrl !== undefined) await grantApplicationRights(tx, applicationUrl);
    return ran.map(({ name }) => name);
  });
}
