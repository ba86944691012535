import { AsyncLocalStorage } from 'node:async_hooks';
import { Client } from 'pg';

/** Longer than any statement behind the answers takes; a server that is gone without a word is given up after it. */
export const STATEMENT_MS_MAX = 15_000;
/** So long a request waits for one statement: of a database that hangs it tells its caller within three seconds. */
export const REQUEST_STATEMENT_MS_MAX = 2_500;

const limits = new AsyncLocalStorage<number>();

/** Gives `work` another limit: every statement that it waits for is given up after so many milliseconds. */
export function withStatementLimit<T>(ms: number, work: () => T): T {
  return limits.run(ms, work);
}

/** Whether a statement was given up, or no connection for it came: then the next one would wait as long. */
export function isLate(error: unknown): boolean {
  return (
    error instanceof Error &&
    /Query read timeout|timeout exceeded when trying to connect|connection timeout/.test(error.message)
  );
}

/**
 * Keeps the statements of a connection to the limit of whoever sends them, and ends the connection with the first that
 * is given up. The driver only stops waiting for it: the pool would hand out a connection that is still busy, or within
 * a transaction that somebody else began and nobody commits.
 */
export function limitStatements(client: Client): void {
  const limited = (statement: unknown, ...rest: unknown[]): unknown => {
    // Looked up anew each time: whoever watches statements puts himself there.
    const { query } = Client.prototype as { query: (this: Client, ...args: unknown[]) => unknown };
    const sent = query.call(client, withLimit(statement, limits.getStore()), ...rest);
    if (sent instanceof Promise)
      sent.catch((error: unknown) => {
        if (isLate(error)) void client.end();
      });
    return sent;
  };
  client.query = limited as Client['query'];
}

/** A cursor has no end to wait for. */
function withLimit(statement: unknown, ms: number | undefined): unknown {
  if (ms === undefined) return statement;
  if (typeof statement === 'string') return { text: statement, query_timeout: ms };
  return typeof statement === 'object' && statement && !('submit' in statement)
    ? { ...statement, query_timeout: ms }
    : statement;
}
