import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import type { Env } from '../../config/env';
import { dataSourceOptions } from './data-source-options';
import { migrate } from './migrate';
import { STATEMENT_MS_MAX } from './statement-limits';

/** The connection to PostgreSQL; whoever starts waits until the schema is up to date. */
@Module({})
export class DatabaseModule {
  /** @param databaseUrl by which the service connects; `env.MIGRATION_DATABASE_URL`, when given, is the owner's. */
  static register(env: Env, databaseUrl: string): DynamicModule {
    return {
      module: DatabaseModule,
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: () => ({
            ...dataSourceOptions(databaseUrl, env.DATABASE_POOL_MAX, STATEMENT_MS_MAX),
            autoLoadEntities: true,
            retryAttempts: 0,
          }),
          dataSourceFactory: async (options) => {
            if (!options) throw new Error('The data source has no options.');
            const ownerUrl = env.MIGRATION_DATABASE_URL ?? databaseUrl;
            const migrating = await new DataSource(dataSourceOptions(ownerUrl, 2)).initialize();
            await migrate(migrating, env.MIGRATION_DATABASE_URL && databaseUrl).finally(() =>
              migrating.destroy(),
            );
            return new DataSource(options).initialize();
          },
        }),
      ],
    };
  }
}
