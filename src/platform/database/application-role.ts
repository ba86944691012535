import { Client, escapeIdentifier } from 'pg';
import type { EntityManager } from 'typeorm';
import { ConfigurationError } from '../../config/env';

/** Whose rows stay as they were written, and what the service may do with them nevertheless. */
const restricted: Readonly<Record<string, string>> = {
  migrations: 'SELECT',
  usage_archives: 'SELECT',
  // What was reported once is booked once, for good.
  usage_events: 'SELECT, INSERT',
  // Of a line, only what is known of persons can be erased.
  usage_logs: 'SELECT, INSERT, UPDATE (ip_address, user_agent, metadata)',
  // An event is given its place in the chain, once, which a trigger sees to.
  audit_events: 'SELECT, INSERT, UPDATE (position, link)',
  // The personal part goes when its person is erased.
  audit_details: 'SELECT, INSERT, DELETE',
  audit_head: 'SELECT, UPDATE',
  // Each line's version of the price explains its cost for good.
  prices: 'SELECT, INSERT',
};

/** pg-boss keeps its tables there. */
const JOBS_SCHEMA = 'pgboss';

/** Where a role can create, or give itself the right to. */
const CREATES_IN = `
  SELECT 'SCHEMA ' || nspname AS place FROM pg_namespace
  WHERE nspname IN ('public', '${JOBS_SCHEMA}')
    AND (has_schema_privilege($1::name, oid, 'CREATE') OR pg_has_role($1::name, nspowner, 'MEMBER'))
  UNION ALL
  SELECT 'DATABASE ' || quote_ident(datname) FROM pg_database
  WHERE datname = current_database()
    AND (has_database_privilege($1::name, oid, 'CREATE') OR pg_has_role($1::name, datdba, 'MEMBER'))`;

/**
 * Gives the role that the service connects as its rights on everything that the owner has made, and no other: it can
 * make, change and drop no table, and can neither delete nor change the lines of the ledger and the audit log.
 * @param tx a transaction of the owner, behind the migrations.
 * @param applicationUrl by which the service connects; nothing is done when that is the owner himself.
 * @throws ConfigurationError when the role can create where the owner cannot take that from it.
 */
export async function grantApplicationRights(tx: EntityManager, applicationUrl: string): Promise<void> {
  const role = await roleOf(applicationUrl);
  const [owner] = await tx.query<{ name: string }[]>('SELECT current_user AS name');
  if (role === owner?.name) return;
  // Parts of a partitioned table are left out: they are reached through the whole, with its rights.
  const tables = await tx.query<{ name: string }[]>(
    `SELECT relname AS name FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`,
  );
  const to = escapeIdentifier(role);
  const names = tables.map(({ name }) => escapeIdentifier(name));
  const statements = [
    // The part of a month may be made at this moment: of two changes of a table's description one would fail.
    `LOCK TABLE ${names.map((name) => `ONLY ${name}`).join()} IN SHARE UPDATE EXCLUSIVE MODE`,
    `REVOKE ALL ON ${names.join()} FROM ${to}`,
    // What it makes there, such as a function named like one of PostgreSQL, the owner could run unawares.
    `REVOKE CREATE ON SCHEMA public, ${JOBS_SCHEMA} FROM ${to}, PUBLIC CASCADE`,
    `GRANT USAGE ON SCHEMA public, ${JOBS_SCHEMA} TO ${to}`,
    ...tables.map(
      ({ name }) =>
        `GRANT ${restricted[name] ?? 'SELECT, INSERT, UPDATE, DELETE'} ON ${escapeIdentifier(name)} TO ${to}`,
    ),
    // Where new functions are everybody's to call, as PostgreSQL has it, this changes nothing.
    `GRANT EXECUTE ON FUNCTION usage_logs_make_partition, usage_holds_end, usage_holds_draw TO ${to}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${JOBS_SCHEMA} TO ${to}`,
    `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${JOBS_SCHEMA} TO ${to}`,
  ];
  for (const statement of statements) await tx.query(statement);
  const places = (await tx.query<{ place: string }[]>(CREATES_IN, [role])).map(({ place }) => place);
  if (places.length === 0) return;
  throw new ConfigurationError([
    `DATABASE_URL connects as ${to}, which can create in ${places.join(', ')}: so it could get at the rights of the owner. ` +
      `As an administrator: ${places.map((place) => `REVOKE CREATE ON ${place} FROM ${to}, PUBLIC`).join('; ')}. ` +
      `It must neither own these, nor be a superuser or a member of a role that does.`,
  ]);
}

/** Whom a URL connects as: asked of the server, for a pooler may know him by another name. */
async function roleOf(url: string): Promise<string> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>('SELECT current_user AS name');
    return rows[0]?.name ?? '';
  } finally {
    await client.end();
  }
}
