import 'reflect-metadata';
import type { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { type Tier, tiers } from '../common/principal';
import { createDataSource } from '../data-source';
import { Audit, SYSTEM } from '../platform/audit/audit';
import { Derivation } from '../platform/crypto/derivation';
import { migrate } from '../platform/database/migrate';
import { createLog } from '../platform/observability/log';
import { canonicalEmail } from '../users/canonical-email';
import { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';
import { CommandError, runCommand } from './command';

const USAGE = `Usage:
  npm run admin -- tier <email> <${tiers.join('|')}|none>   set the tier, over what billing says; none gives it back to billing
  npm run admin -- promote <email>   make the account an admin
  npm run admin -- demote <email>    make the account a user again`;

void runCommand(async (env, databaseUrl, applicationUrl) => {
  const [verb, email, value] = process.argv.slice(2);
  if (!email) throw new CommandError(USAGE);
  const dataSource = await createDataSource(databaseUrl).initialize();
  try {
    await migrate(dataSource, applicationUrl);
    const clock = new Clock();
    const db = dataSource.manager;
    const users = new UsersService(db, clock, new Audit(db, clock, new Derivation(env), createLog('silent')));
    return await db.transaction((tx) => run(users, tx, verb, canonicalEmail(email), value));
  } finally {
    await dataSource.destroy();
  }
});

async function run(
  users: UsersService,
  tx: EntityManager,
  verb: string | undefined,
  email: string,
  value: string | undefined,
): Promise<string> {
  switch (verb) {
    case 'tier': {
      const tier = readTier(value);
      await users.overrideTier(await idOf(email, tx), tier, SYSTEM, tx);
      return tier === null ? `tier of ${email} is now what billing says` : `tier of ${email} is now ${tier}`;
    }
    case 'promote':
      await users.setRole(await idOf(email, tx), 'admin', SYSTEM, tx);
      return `${email} is now an admin`;
    case 'demote':
      await users.setRole(await idOf(email, tx), 'user', SYSTEM, tx);
      return `${email} is now a user`;
    default:
      throw new CommandError(USAGE);
  }
}

async function idOf(email: string, tx: EntityManager): Promise<string> {
  const user = await tx.findOne(User, { select: { id: true }, where: { email } });
  if (!user) throw new CommandError(`There is no account ${email}.`);
  return user.id;
}

function readTier(value: string | undefined): Tier | null {
  if (value === 'none') return null;
  const tier = tiers.find((name) => name === value);
  if (!tier)
    throw new CommandError(`There is no tier "${value ?? ''}". Tiers are ${tiers.join(', ')}, and none.`);
  return tier;
}
