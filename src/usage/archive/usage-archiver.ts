import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { escapeIdentifier } from 'pg';
import { type DataSource, type EntityManager, QueryFailedError } from 'typeorm';
import { ArchiveError, countArchive, type TextRow, writeArchive } from './archive-file';
import { UsageArchive } from './usage-archive.entity';

const CHUNK = 2_000;
/** How long calls wait behind us for the lock on the ledger, before we let them pass and try again. */
const LOCK_TIMEOUT_MS = 2_000;
const LOCK_TRIES = 10;

/** A month of the ledger that now stands in a file. */
export interface ArchivedMonth {
  /** As in `2026-01`. */
  readonly month: string;
  readonly lines: number;
  /** Undefined when there was nothing to keep. */
  readonly file: string | undefined;
}

/**
 * Moves the months of the ledger before `before` out of the database, each into a file of its own: the file is written,
 * read back and counted, and only then the part of the table is dropped, when it still holds just these lines. The sums
 * stay. What is interrupted can be begun again.
 * @param dataSource of the owner of the tables.
 * @param before a month, as in `2026-01`, that is over; it stays.
 * @param folder made when it is missing. The files hold addresses and names of end users, so only their owner can read them.
 * @throws ArchiveError when `before` is too late, lines came meanwhile, or the file is not what was written or was there before.
 */
export async function* archiveUsage(
  dataSource: DataSource,
  before: string,
  folder: string,
  now: Date,
): AsyncGenerator<ArchivedMonth, void> {
  // A subscription's period that lasts may have begun in the month before this one, and its bill is read from there.
  const last = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1)).toISOString().slice(0, 7);
  if (before > last)
    throw new ArchiveError(`This month and the one before it stay in the ledger: --before ${last} at most.`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const tables = await dataSource.query<{ name: string }[]>(
    `SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
     WHERE inhparent = 'usage_logs'::regclass ORDER BY relname`,
  );
  for (const { name } of tables) {
    const [, year = '', month = ''] = /^usage_logs_(\d{4})_(\d{2})$/.exec(name) ?? [];
    if (year && `${year}-${month}` < before)
      yield await archivePart(dataSource, name, `${year}-${month}`, folder, now);
  }
}

async function archivePart(
  dataSource: DataSource,
  table: string,
  month: string,
  folder: string,
  now: Date,
): Promise<ArchivedMonth> {
  const earlier = await dataSource.manager.countBy(UsageArchive, { month: `${month}-01` });
  const part = earlier + 1;
  const file = join(folder, `${table}${earlier ? `.${part}` : ''}.csv.gz`);
  const columns = await columnsOf(dataSource, table);

  await writeArchive(file, columns, readRows(dataSource, table, columns));
  const lines = await countArchive(file);
  try {
    await dropPart(dataSource, table, { month: `${month}-01`, part, lines, at: now });
  } catch (error) {
    // Only then it is sure that nothing was dropped: a connection may also break behind the commit.
    if (error instanceof ArchiveError) await rm(file);
    throw error;
  }
  if (lines > 0) return { month, lines, file };
  await rm(file);
  return { month, lines, file: undefined };
}

async function columnsOf(dataSource: DataSource, table: string): Promise<string[]> {
  const rows = await dataSource.query<{ name: string }[]>(
    `SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [table],
  );
  return rows.map(({ name }) => name);
}

/** All rows as text, by a cursor of one transaction, so that they are those of one moment. */
async function* readRows(
  dataSource: DataSource,
  table: string,
  columns: readonly string[],
): AsyncGenerator<TextRow[], void> {
  const runner = dataSource.createQueryRunner();
  try {
    await runner.startTransaction();
    await runner.query(`SET LOCAL timezone = 'UTC'`);
    const texts = columns.map((name) => `${escapeIdentifier(name)}::text`).join(', ');
    const declare = `DECLARE line NO SCROLL CURSOR FOR SELECT ${texts} FROM ${escapeIdentifier(table)} ORDER BY user_id, id`;
    await runner.query(declare);
    const fetch = `FETCH ${CHUNK} FROM line`;
    for (;;) {
      const rows = (await runner.query(fetch)) as TextRow[];
      if (rows.length > 0) yield rows;
      if (rows.length < CHUNK) break;
    }
    await runner.commitTransaction();
  } finally {
    if (runner.isTransactionActive) await runner.rollbackTransaction();
    await runner.release();
  }
}

/** Drops a part that holds so many lines, and notes what was in it, in one transaction. */
async function dropPart(
  dataSource: DataSource,
  table: string,
  archive: { month: string; part: number; lines: number; at: Date },
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await dataSource.transaction((tx) => tryDropPart(tx, table, archive));
      return;
    } catch (error) {
      const { code } = error instanceof QueryFailedError ? (error.driverError as { code?: string }) : {};
      // lock_not_available, and deadlock_detected.
      if (code !== '55P03' && code !== '40P01') throw error;
      if (tries === LOCK_TRIES)
        throw new ArchiveError(
          `The ledger was in use whenever ${table} was to be dropped. Nothing is dropped; run the command again.`,
        );
      await sleep(LOCK_TIMEOUT_MS / 2);
    }
  }
}

async function tryDropPart(
  tx: EntityManager,
  table: string,
  { month, part, lines, at }: { month: string; part: number; lines: number; at: Date },
): Promise<void> {
  const name = escapeIdentifier(table);
  const statements = {
    timeout: `SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`,
    // Counting takes a while, and only who writes into this month has to wait for it.
    lockPart: `LOCK TABLE ONLY ${name} IN SHARE MODE`,
    sums: `SELECT count(*)::int AS lines, coalesce(sum(tokens_used), 0) AS tokens, coalesce(sum(cost_usd), 0) AS cost FROM ${name}`,
    // Whoever writes locks the whole first and then the part: PostgreSQL ends one of us, and each tries again.
    lockWhole: 'LOCK TABLE usage_logs IN ACCESS EXCLUSIVE MODE',
    detach: `ALTER TABLE usage_logs DETACH PARTITION ${name}`,
    drop: `DROP TABLE ${name}`,
  };
  await tx.query(statements.timeout);
  await tx.query(statements.lockPart);
  const [held] = await tx.query<{ lines: number; tokens: string; cost: string }[]>(statements.sums);
  if (held?.lines !== lines) {
    throw new ArchiveError(
      `${table} holds ${held?.lines ?? 0} lines and its file ${lines}: some came meanwhile. Nothing is dropped; run the command again.`,
    );
  }
  if (lines > 0) {
    await tx.query(
      `INSERT INTO usage_archives (month, part, lines, tokens, cost_usd, archived_at) VALUES ($1, $2, $3, $4, $5, $6)`,
      [month, part, lines, held.tokens, held.cost, at],
    );
  }
  await tx.query(statements.lockWhole);
  await tx.query(statements.detach);
  await tx.query(statements.drop);
}
