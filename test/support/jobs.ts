import type { EntityManager } from 'typeorm';

const LIMIT_MS = 20_000;

/** Resolves when no job of the database is due or under way. @throws Error when that takes too long, with what is left. */
export async function jobsSettled(db: EntityManager): Promise<void> {
  const deadlineMs = performance.now() + LIMIT_MS;
  for (;;) {
    const left = await db.query<{ name: string; state: string; data: unknown }[]>(
      `SELECT name, state, data FROM pgboss.job
       WHERE state = 'active' OR (state < 'active' AND start_after <= now())`,
    );
    if (left.length === 0) return;
    if (performance.now() > deadlineMs) throw new Error(`Jobs are left over: ${JSON.stringify(left)}`);
  }
}

/** Makes every job due that waits for its time, or for its next try. */
export async function makeJobsDue(db: EntityManager): Promise<void> {
  await db.query(`UPDATE pgboss.job SET start_after = now() WHERE state < 'active'`);
}

/** Every row of every table of the job queue, as text. */
export async function jobTables(db: EntityManager): Promise<string> {
  const tables = await db.query<{ name: string }[]>(
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'pgboss'`,
  );
  const rows: string[] = [];
  for (const { name } of tables) {
    const found = await db.query<{ row: string }[]>(`SELECT t::text AS row FROM pgboss."${name}" t`);
    rows.push(...found.map(({ row }) => row));
  }
  return rows.join('\n');
}
