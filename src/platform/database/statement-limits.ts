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
 * is given up: the database may still be busy with it, or within a transaction that somebody else began and nobody
 * commits, and the pool would hand it out.
 *
 * The driver gets a callback and no time limit of its own. For its promises and its limit it assigns functions to a
 * property of the statement; V8 makes such functions among the old objects, where each keeps its statement with all
 * its parameters until everything is collected: under load several megabytes a second.
 * @param otherwiseMs the limit of statements whose sender has none; undefined: they may take as long as they need.
 */
export function limitStatements(client: Client, otherwiseMs: number | undefined): void {
  const limited = (statement: unknown, values?: unknown, callback?: unknown): unknown => {
    // Looked up anew each time: whoever watches statements puts himself there.
    const { query } = Client.prototype as { query: (this: Client, ...args: unknown[]) => unknown };
    // A cursor has no end to wait for.
    if (isCursor(statement) || typeof values === 'function' || callback !== undefined)
      return query.call(client, statement, values, callback);
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        reject(new Error('Query read timeout'));
        void client.end();
      };
      const ms = limits.getStore() ?? otherwiseMs;
      const timer = ms === undefined ? undefined : setTimeout(giveUp, ms);
      query.call(client, statement, values, (error: Error | null, result: unknown) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve(result);
      });
    });
  };
  client.query = limited as Client['query'];
}

function isCursor(statement: unknown): boolean {
  return typeof statement === 'object' && statement !== null && 'submit' in statement;
}
