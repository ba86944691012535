import type { ClientBase } from 'pg';
import { DefaultNamingStrategy, type DataSourceOptions } from 'typeorm';
import { migrations } from '../../../migrations';

export const CONNECT_TIMEOUT_MS = 3_000;
/** Longer than any statement of a request takes; a server that is gone without a word is given up after it. */
export const QUERY_TIMEOUT_MS = 15_000;

/** Columns are named as on the wire: `lastUsed` is `last_used`. Tables are named by their entities. */
class SnakeCaseNaming extends DefaultNamingStrategy {
  override columnName(propertyName: string, customName: string | undefined, prefixes: string[]): string {
    return snakeCase([...prefixes, customName ?? propertyName].join('_'));
  }

  override joinColumnName(relationName: string, referencedColumnName: string): string {
    return snakeCase(`${relationName}_${referencedColumnName}`);
  }
}

/**
 * The connection options that the service, its tests and the migration commands share.
 * @param queryTimeoutMs undefined: a statement may take as long as it needs, as migrations do.
 */
export function dataSourceOptions(url: string, poolMax: number, queryTimeoutMs?: number): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    synchronize: false,
    migrations,
    migrationsTableName: 'migrations',
    namingStrategy: new SnakeCaseNaming(),
    installExtensions: false,
    extra: {
      max: poolMax,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: queryTimeoutMs,
      keepAlive: true,
      onConnect: surviveBreaks,
    },
  };
}

/**
 * Whoever takes a connection from the pool begins to listen to it a moment later, and one that breaks in between would
 * end the process. Its next statement tells of the break all the same.
 */
function surviveBreaks(client: ClientBase): void {
  client.on('error', () => undefined);
}

function snakeCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
