import { PgBoss, type ConstructorOptions, type Db } from 'pg-boss';
import type { Pool } from 'pg';
import type { DataSource, EntityManager } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';

/** The queue's tables stand in a schema of their own, which the migrations of the service leave alone. */
const SCHEMA = 'pgboss';

/** pg-boss on the connections of the service: no second pool, and nothing that a transaction pooler cannot do. */
export function createBoss(dataSource: DataSource, options: ConstructorOptions): PgBoss {
  const db: Db = {
    executeSql: (text, values) => {
      const pool = (dataSource.driver as PostgresDriver).master as Pool;
      return pool.query(text, values);
    },
  };
  return new PgBoss({ ...options, db, schema: SCHEMA, schedule: false });
}

/** A transaction of the service, as pg-boss wants it. */
export function inTransaction(tx: EntityManager): Db {
  return {
    executeSql: async (text, values) => ({ rows: await tx.query<unknown[]>(text, values) }),
  };
}

/** Makes the queue's tables, or brings them up to date; of several processes at once one does it. */
export async function migrateJobs(dataSource: DataSource): Promise<void> {
  const boss = createBoss(dataSource, { supervise: false });
  // What fails here fails `start`; what fails behind it is tried again, and reported, by the running service.
  boss.on('error', () => undefined);
  await boss.start();
  await boss.stop({ graceful: false });
}
