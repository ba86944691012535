import 'reflect-metadata';
import { Clock } from '../common/clock';
import { type Tier, tiers } from '../common/principal';
import { createDataSource } from '../data-source';
import { migrate } from '../platform/database/migrate';
import { canonicalEmail } from '../users/canonical-email';
import { UsersService } from '../users/users.service';
import { CommandError, runCommand } from './command';

const USAGE = `Usage:
  npm run admin -- tier <email> <${tiers.join('|')}|none>   set the tier, over what billing says; none gives it back to billing
  npm run admin -- promote <email>   make the account an admin`;

void runCommand(async (_env, databaseUrl) => {
  const [verb, email, value] = process.argv.slice(2);
  if (!email) throw new CommandError(USAGE);
  const dataSource = await createDataSource(databaseUrl).initialize();
  try {
    await migrate(dataSource);
    const users = new UsersService(dataSource.manager, new Clock());
    return await run(users, verb, canonicalEmail(email), value);
  } finally {
    await dataSource.destroy();
  }
});

async function run(
  users: UsersService,
  verb: string | undefined,
  email: string,
  value: string | undefined,
): Promise<string> {
  switch (verb) {
    case 'tier': {
      const tier = readTier(value);
      if (!(await users.overrideTier(email, tier))) throw noAccount(email);
      return tier === null ? `tier of ${email} is now what billing says` : `tier of ${email} is now ${tier}`;
    }
    case 'promote':
      if (!(await users.promote(email))) throw noAccount(email);
      return `${email} is now an admin`;
    default:
      throw new CommandError(USAGE);
  }
}

function readTier(value: string | undefined): Tier | null {
  if (value === 'none') return null;
  const tier = tiers.find((name) => name === value);
  if (!tier)
    throw new CommandError(`There is no tier "${value ?? ''}". Tiers are ${tiers.join(', ')}, and none.`);
  return tier;
}

function noAccount(email: string): CommandError {
  return new CommandError(`There is no account ${email}.`);
}
