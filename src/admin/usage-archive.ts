import 'reflect-metadata';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Clock } from '../common/clock';
import { createDataSource } from '../data-source';
import { ArchiveError } from '../usage/archive/archive-file';
import { archiveUsage } from '../usage/archive/usage-archiver';
import { CommandError, runCommand } from './command';

const USAGE = `Usage:
  npm run usage:archive -- --before <YYYY-MM> [--to <folder>]
    moves the ledger's lines of all months (UTC) before this one out of the database, into compressed CSV files;
    this month and the one before it stay`;

void runCommand(async (env, databaseUrl) => {
  const { before, to = join(env.DATA_DIR, 'archive') } = readArguments();
  const dataSource = await createDataSource(databaseUrl).initialize();
  try {
    const said: string[] = [];
    const months = archiveUsage(dataSource, before, resolve(to), new Clock().now());
    for await (const { month, lines, file } of months)
      said.push(`${month}: ${lines} lines${file === undefined ? '' : `, now in ${file}`}`);
    return said.length > 0 ? said.join('\n') : `The ledger holds nothing from before ${before}.`;
  } catch (error) {
    throw error instanceof ArchiveError ? new CommandError(error.message) : error;
  } finally {
    await dataSource.destroy();
  }
});

function readArguments(): { before: string; to?: string | undefined } {
  try {
    const { values } = parseArgs({ options: { before: { type: 'string' }, to: { type: 'string' } } });
    const { before, to } = values;
    if (before !== undefined && /^\d{4}-(0[1-9]|1[0-2])$/.test(before)) return { before, to };
  } catch {
    // An unknown option: what can be asked for is said below.
  }
  throw new CommandError(USAGE);
}
