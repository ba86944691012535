import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ApiKeysService } from '../api-keys/api-keys.service';
import { SessionsService } from '../auth/sessions.service';
import type { Tier } from '../common/principal';
import { type Actor, Audit } from '../platform/audit/audit';
import { Mailer } from '../platform/mail/mailer';
import { TwoFactorResets } from '../two-factor/two-factor-resets';
import type { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';
import { AdminErrors } from './admin.errors';

/** What admins do to accounts. Each change and its audit event are one transaction. */
@Injectable()
export class AdminUsersService {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly apiKeys: ApiKeysService,
    private readonly twoFactorResets: TwoFactorResets,
    private readonly audit: Audit,
    private readonly mailer: Mailer,
  ) {}

  /**
   * Shuts an account out: its sessions end, and its keys open nothing while it lasts.
   * @throws ApiError `user_not_found`, `cannot_suspend_yourself`.
   */
  async suspend(id: string, by: Actor): Promise<User> {
    if (id === by.id) throw AdminErrors.cannotSuspendYourself();
    return this.change(id, async (tx) => {
      const { user, isChanged } = await this.users.setActive(id, false, by, tx);
      await this.sessions.endAll(id, null, tx);
      if (isChanged) await this.mailer.send('account_suspended', { userId: id }, tx);
      return user;
    });
  }

  /** @throws ApiError `user_not_found`. */
  restore(id: string, by: Actor): Promise<User> {
    return this.change(id, async (tx) => {
      const { user, isChanged } = await this.users.setActive(id, true, by, tx);
      if (isChanged) await this.mailer.send('account_restored', { userId: id }, tx);
      return user;
    });
  }

  /**
   * Sets the tier that wins over what billing says; null: billing has the word again.
   * @throws ApiError `user_not_found`.
   */
  setTier(id: string, tier: Tier | null, by: Actor): Promise<User> {
    return this.change(id, (tx) => this.users.overrideTier(id, tier, by, tx));
  }

  /** @throws ApiError `user_not_found`. */
  async endSessions(id: string, by: Actor): Promise<void> {
    await this.users.lookUp(id);
    await this.change(id, async (tx) => {
      await this.sessions.endAll(id, null, tx);
      await this.audit.record({ action: 'sessions.ended_all', by, subjectId: id }, tx);
      await this.mailer.send('sessions_ended', { userId: id }, tx);
    });
  }

  /**
   * Asks for the second factor of an account to be turned off in a day, which its owner is told and can stop.
   * @returns when it takes effect.
   * @throws ApiError `user_not_found`, `two_factor_not_enabled`.
   */
  async resetTwoFactor(id: string, by: Actor): Promise<Date> {
    await this.users.lookUp(id);
    return this.change(id, (tx) => this.twoFactorResets.request(id, by, tx));
  }

  /** After the commit, this process believes nothing it knew of the account. */
  private async change<Result>(id: string, work: (tx: EntityManager) => Promise<Result>): Promise<Result> {
    const result = await this.db.transaction(work);
    this.sessions.forget(id);
    this.apiKeys.forget(id);
    return result;
  }
}
