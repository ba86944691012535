import 'reflect-metadata';
import { createDataSource } from '../data-source';
import { Keyring } from '../platform/crypto/keyring';
import { migrate } from '../platform/database/migrate';
import { rotateSecrets } from '../two-factor/rotate-secrets';
import { CommandError, runCommand } from './command';

void runCommand(async (env, databaseUrl) => {
  const dataSource = await createDataSource(databaseUrl).initialize();
  try {
    await migrate(dataSource);
    const { rotated, unreadable } = await rotateSecrets(dataSource.manager, new Keyring(env));
    const done = `Encrypted anew under the first key: ${rotated}.`;
    if (unreadable.length === 0) return `${done} Everything is under it now.`;
    throw new CommandError(
      `${done} No key of the settings opens the secrets of these users, whose apps do not work: ${unreadable.join(', ')}.`,
    );
  } finally {
    await dataSource.destroy();
  }
});
