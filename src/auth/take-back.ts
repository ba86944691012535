import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ApiKeysService } from '../api-keys/api-keys.service';
import { Passwords } from '../platform/crypto/passwords';
import { afterCommit } from '../platform/transactions/after-commit';
import { TwoFactorService } from '../two-factor/two-factor.service';
import { UsersService } from '../users/users.service';
import { OneTimeTokens } from './one-time-tokens';
import { SessionsService } from './sessions.service';

/** Ends what others may have made in an account, or know of it, before its owner has proven himself by his mailbox. */
@Injectable()
export class TakeBack {
  constructor(
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly apiKeys: ApiKeysService,
    private readonly twoFactor: TwoFactorService,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly passwords: Passwords,
  ) {}

  /**
   * Ends the sessions, what was mailed, the second factor and the API keys.
   * @param since only keys that were made or rotated, and a second factor that was turned on, since this moment; default: all.
   */
  async endAll(userId: string, tx: EntityManager, since?: Date): Promise<void> {
    await this.sessions.endAll(userId, null, tx);
    await this.oneTimeTokens.endAll(userId, tx);
    await this.apiKeys.deactivateAll(userId, tx, since);
    await this.twoFactor.disableSince(userId, since, tx);
    this.forget(userId, tx);
  }

  /** Makes the password one that nobody knows: a reset is the way in then. */
  async endPassword(userId: string, tx: EntityManager): Promise<void> {
    await this.users.setPassword(userId, await this.passwords.unusableHash(), undefined, tx);
  }

  /** Makes this process ask the database about an account again, once `tx` has committed. */
  forget(userId: string, tx: EntityManager): void {
    afterCommit(tx, () => {
      this.sessions.forget(userId);
      this.apiKeys.forget(userId);
    });
  }
}
