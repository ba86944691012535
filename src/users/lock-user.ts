import type { EntityManager } from 'typeorm';
import { User } from './user.entity';
import { UserErrors } from './users.errors';

/**
 * Locks an account, so that of two changes at once each tells the truth about what was before it.
 * @throws ApiError `user_not_found`.
 */
export async function lockUser(id: string, tx: EntityManager): Promise<User> {
  const user = await tx.findOne(User, { where: { id }, lock: { mode: 'pessimistic_write' } });
  if (!user) throw UserErrors.notFound();
  return user;
}
