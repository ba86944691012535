import type { Client } from 'pg';
import { DataDirectoryInUseError } from './postgres-errors';

/** `lock_timeout` of the connections below: longer than the server takes to notice that an owner was killed. */
export const LOCK_WAIT_MS = 1_000;

// Any constants do. They are session locks, so they end with their holder, however it dies.
const OWNER_LOCK = 7_263_951_841;
const USERS_LOCK = 7_263_951_842;

/** Waits while a last user is ending the server; then this connection ends too, and the caller begins anew. */
export async function joinUsers(connection: Client): Promise<void> {
  await connection.query('SELECT pg_advisory_lock_shared($1)', [USERS_LOCK]);
}

/** Leaves, and says whether nobody is left: then nobody can join either until this connection ends. */
export async function isLastUser(connection: Client): Promise<boolean> {
  try {
    await connection.query('SELECT pg_advisory_unlock_shared($1)', [USERS_LOCK]);
    const { rows } = await connection.query<{ last: boolean }>('SELECT pg_try_advisory_lock($1) AS last', [
      USERS_LOCK,
    ]);
    return rows[0]?.last === true;
  } catch {
    // The connection is gone, so its owner has ended the server.
    return false;
  }
}

/**
 * Takes the server for this connection alone.
 * @throws DataDirectoryInUseError when another connection has it.
 */
export async function becomeOwner(connection: Client, directory: string): Promise<void> {
  try {
    await connection.query('SELECT pg_advisory_lock($1)', [OWNER_LOCK]);
  } catch (error) {
    if (codeOf(error) !== '55P03') throw error;
    const { rows } = await connection.query<{ name: string }>(
      `SELECT application_name AS name FROM pg_locks JOIN pg_stat_activity USING (pid)
       WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = $1`,
      [OWNER_LOCK],
    );
    throw new DataDirectoryInUseError(directory, rows[0]?.name ?? 'another process');
  }
}

/** The SQLSTATE or system code of an error; empty when it has none. */
export function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? '';
}
