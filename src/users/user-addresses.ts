import { Injectable } from '@nestjs/common';
import { type EntityManager, Not } from 'typeorm';
import { Clock } from '../common/clock';
import { Audit, SYSTEM } from '../platform/audit/audit';
import { Jobs } from '../platform/jobs/jobs';
import { lockUser } from './lock-user';
import { User } from './user.entity';

/** The job that tells of an account (`userId`) whose address is another now, for whoever keeps a copy of it. */
export const ADDRESS_CHANGED_JOB = 'address-changed';

/** Which account has which e-mail address. */
@Injectable()
export class UserAddresses {
  constructor(
    private readonly clock: Clock,
    private readonly audit: Audit,
    private readonly jobs: Jobs,
  ) {}

  /**
   * Gives an account another address, which its owner has proven.
   * @returns what the account was before.
   * @throws ApiError `user_not_found`; QueryFailedError (unique violation) when somebody else has the address.
   */
  async change(
    id: string,
    email: string,
    tx: EntityManager,
  ): Promise<Pick<User, 'email' | 'isVerified' | 'isActive'>> {
    const { email: old, isVerified, isActive } = await lockUser(id, tx);
    await tx.update(User, { id }, { email, isVerified: true, updatedAt: this.clock.now() });
    await this.jobs.send(ADDRESS_CHANGED_JOB, { userId: id }, tx);
    return { email: old, isVerified, isActive };
  }

  /**
   * Takes an address from an account that never proved it, for somebody who has: the account is suspended.
   * @returns the id of the account, or null when there was none.
   */
  async releaseUnproven(email: string, exceptId: string, tx: EntityManager): Promise<string | null> {
    const where = { email, isVerified: false, id: Not(exceptId) };
    const user = await tx.findOne(User, { where, lock: { mode: 'pessimistic_write' } });
    if (!user) return null;
    // A name below .invalid belongs to nobody (RFC 2606).
    const released = { email: `${user.id}@released.invalid`, isActive: false, updatedAt: this.clock.now() };
    await tx.update(User, { id: user.id }, released);
    const details = { because: 'the owner of its address took it back' };
    await this.audit.record({ action: 'user.suspended', by: SYSTEM, subjectId: user.id, details }, tx);
    return user.id;
  }

  /** Marks an address as not proven. */
  async markUnproven(id: string, tx: EntityManager): Promise<void> {
    await tx.update(User, { id }, { isVerified: false, updatedAt: this.clock.now() });
  }
}
