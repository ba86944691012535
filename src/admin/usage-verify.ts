import 'reflect-metadata';
import { createDataSource } from '../data-source';
import { verifyUsage } from '../usage/usage-verifier';
import { CommandError, runCommand } from './command';

void runCommand(async (_env, databaseUrl) => {
  const dataSource = await createDataSource(databaseUrl).initialize();
  try {
    const findings = await verifyUsage(dataSource.manager);
    if (findings.length > 0) {
      const list = findings.map(
        ({ where, ledger, summary }) =>
          `  - ${where}: the ledger says ${ledger || '0'}, the sum ${summary || '0'}`,
      );
      throw new CommandError(['The sums differ from the ledger:', ...list].join('\n'));
    }
    return 'Every sum equals the ledger.';
  } finally {
    await dataSource.destroy();
  }
});
