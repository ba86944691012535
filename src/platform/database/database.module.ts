import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import type { Env } from '../../config/env';
import { dataSourceOptions, QUERY_TIMEOUT_MS } from './data-source-options';
import { migrate } from './migrate';

/** The connection to PostgreSQL; whoever starts waits until the schema is up to date. */
@Module({})
export class DatabaseModule {
  /** @param databaseUrl of the configured or the embedded server. */
  static register(env: Env, databaseUrl: string): DynamicModule {
    return {
      module: DatabaseModule,
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: () => ({
            ...dataSourceOptions(databaseUrl, env.DATABASE_POOL_MAX, QUERY_TIMEOUT_MS),
            autoLoadEntities: true,
            retryAttempts: 0,
          }),
          dataSourceFactory: async (options) => {
            if (!options) throw new Error('The data source has no options.');
            const migrating = await new DataSource(dataSourceOptions(databaseUrl, 2)).initialize();
            await migrate(migrating).finally(() => migrating.destroy());
            return new DataSource(options).initialize();
          },
        }),
      ],
    };
  }
}
