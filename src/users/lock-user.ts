import type { EntityManager } from 'typeorm';
import { CommonErrors } from '../common/common.errors';
import type { UserPrincipal } from '../common/principal';
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

/**
 * Locks an account for a change that must not outlive the session it is asked from: what AuthGuard knows of a session
 * may be a second old.
 * @param verifiedHash the password hash that was just verified, where a password was asked for.
 * @throws ApiError `invalid_token` when the session has ended meanwhile, the password is another one, or the account is
 * suspended.
 */
export async function lockForSession(
  { userId, sessionId }: Pick<UserPrincipal, 'userId' | 'sessionId'>,
  tx: EntityManager,
  verifiedHash?: string,
): Promise<User> {
  const where = {
    id: userId,
    isActive: true,
    ...(verifiedHash !== undefined && { passwordHash: verifiedHash }),
  };
  const user = await tx.findOne(User, { where, lock: { mode: 'pessimistic_write' } });
  // By the name of the table: sessions are of a folder that this one may not import.
  const sql = 'SELECT 1 FROM sessions WHERE id = $1 AND user_id = $2';
  const found = await tx.query<unknown[]>(sql, [sessionId, userId]);
  if (!user || found.length === 0) throw CommonErrors.invalidCredentials();
  return user;
}
