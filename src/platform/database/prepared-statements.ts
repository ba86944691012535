import { createHash } from 'node:crypto';
import { type DataSource, type EntityManager, QueryFailedError } from 'typeorm';

/** What a connection answers that has no statement of this name, or has one already: a pooler has given the client another one. */
const OTHER_CONNECTION_CODES: readonly unknown[] = ['26000', '42P05'];

/** A migration has given a column another type since the statement was prepared on this connection (feature_not_supported). */
const OTHER_TYPE_CODE = '0A000';

/** Behind poolers that keep no prepared statements. */
const unprepared = new WeakSet<DataSource>();
const names = new Map<string, string>();

/**
 * Sends a statement that is sent again and again. Each connection parses and plans it once, which for the statements of
 * the ledger takes as long as running them. Within a transaction it is sent as any other: what fails there has ended the
 * transaction, and could not be sent again.
 *
 * A pooler that gives a client one connection after the other and does not know prepared statements (PgBouncer before
 * 1.21, or with `max_prepared_statements = 0`) makes it fail before anything is done. Then, and from then on, it goes
 * without. After a migration that changed a column's type, connections from before it send that statement as it is.
 * @returns the rows of a SELECT or of RETURNING in an INSERT.
 * @throws what `EntityManager.query` does.
 */
export async function queryPrepared<Row>(
  db: EntityManager,
  text: string,
  parameters: readonly unknown[],
): Promise<Row[]> {
  if (db.queryRunner?.isTransactionActive || unprepared.has(db.dataSource))
    return db.query<Row[]>(text, [...parameters]);
  try {
    // TypeORM hands the driver what it is given; that the driver takes a statement with a name, its types do not say.
    const statement = { name: nameOf(text), text } as unknown as string;
    return await db.query<Row[]>(statement, [...parameters]);
  } catch (error) {
    if (hasCode(error, OTHER_CONNECTION_CODES)) unprepared.add(db.dataSource);
    else if (!hasCode(error, [OTHER_TYPE_CODE])) throw error;
    return db.query<Row[]>(text, [...parameters]);
  }
}

/** The same for the same text in every process, and never that of another one. */
function nameOf(text: string): string {
  let name = names.get(text);
  if (!name)
    names.set(text, (name = `cortex_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`));
  return name;
}

function hasCode(error: unknown, codes: readonly unknown[]): boolean {
  return error instanceof QueryFailedError && codes.includes((error.driverError as { code?: unknown }).code);
}
