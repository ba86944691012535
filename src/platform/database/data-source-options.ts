import type { Client } from 'pg';
import { DefaultNamingStrategy, type DataSourceOptions } from 'typeorm';
import { migrations } from '../../../migrations';
import { limitStatements } from './statement-limits';

export const CONNECT_TIMEOUT_MS = 2_500;

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
 * @param statementMsMax undefined: a statement may take as long as it needs, as migrations do.
 */
export function dataSourceOptions(url: string, poolMax: number, statementMsMax?: number): DataSourceOptions {
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
      keepAlive: true,
      onConnect: (client: Client) => {
        surviveBreaks(client);
        limitStatements(client, statementMsMax);
      },
    },
  };
}

/**
 * Whoever takes a connection from the pool begins to listen to it a moment later, and one that breaks in between would
 * end the process. Its next statement tells of the break all the same.
 */
function surviveBreaks(client: Client): void {
  client.on('error', () => undefined);
}

function snakeCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
