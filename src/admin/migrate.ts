import 'reflect-metadata';
import { createDataSource } from '../data-source';
import { migrate } from '../platform/database/migrate';
import { runCommand } from './command';

void runCommand(
  async (_env, databaseUrl, applicationUrl) => {
    const dataSource = await createDataSource(databaseUrl).initialize();
    try {
      const ran = await migrate(dataSource, applicationUrl);
      return ran.length > 0 ? `Migrated: ${ran.join(', ')}.` : 'The schema is up to date.';
    } finally {
      await dataSource.destroy();
    }
  },
  { mayMake: true },
);
