import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { ApiKeysService } from '../api-keys/api-keys.service';
import type { UserPrincipal } from '../common/principal';
import { Attempts } from '../limits/attempts';
import { Passwords } from '../platform/crypto/passwords';
import { Jobs } from '../platform/jobs/jobs';
import { Mailer } from '../platform/mail/mailer';
import { TwoFactorService } from '../two-factor/two-factor.service';
import { UsersService } from '../users/users.service';
import { AuthErrors } from './auth.errors';
import { OneTimeTokens } from './one-time-tokens';
import { assertStrong } from './password-policy';
import { SessionsService } from './sessions.service';

const RESET_JOB = 'password_reset';

/** Changing a password, with the old one or with a mailed token. */
@Injectable()
export class PasswordService implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly apiKeys: ApiKeysService,
    private readonly twoFactor: TwoFactorService,
    private readonly passwords: Passwords,
    private readonly attempts: Attempts,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly jobs: Jobs,
    private readonly mailer: Mailer,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ userId: string }>(RESET_JOB, ({ userId }) => this.mailReset(userId));
  }

  /**
   * Changes the password and ends all other sessions. The current one is a guess like any other.
   * @throws ApiError `wrong_password`, also while the account is locked; `weak_password`.
   */
  async change(
    { userId, sessionId }: UserPrincipal,
    currentPassword: string,
    newPassword: string,
  ): Promise<void> {
    const user = await this.users.getForLogin(userId);
    assertStrong(newPassword, user.email);
    const target = { email: user.email };
    const mayGuess = await this.attempts.take(target);
    const isRight = await this.passwords.verify(mayGuess ? user.passwordHash : undefined, currentPassword);
    if (!isRight) throw AuthErrors.wrongPassword();

    const hash = await this.passwords.hash(newPassword);
    await this.db.transaction(async (tx) => {
      await this.attempts.giveBack(target, tx);
      if (!(await this.users.setPassword(userId, hash, user.passwordHash, tx)))
        throw AuthErrors.wrongPassword();
      await this.oneTimeTokens.end(userId, 'reset_password', tx);
      await this.sessions.endAll(userId, sessionId, tx);
      await this.mailer.send('password_changed', { userId }, tx);
    });
    this.sessions.forget(userId);
  }

  /**
   * Mails a link that sets a new password, if there is such an account. An address that nobody has costs the same, or
   * the answer's time would tell: a job too, which finds no account.
   */
  async requestReset(email: string): Promise<void> {
    const userId = await this.users.idOf(email);
    await this.jobs.send(RESET_JOB, { userId: userId ?? uuidv7() }, this.db);
  }

  private async mailReset(userId: string): Promise<void> {
    const user = await this.users.find(userId);
    if (!user?.isActive) return;
    await this.db.transaction(async (tx) => {
      const tokenId = await this.oneTimeTokens.issue(userId, 'reset_password', tx);
      await this.mailer.send('reset_password', { tokenId }, tx);
    });
  }

  /**
   * Sets a new password with a mailed token, and ends all sessions and the lock of the account. A second factor stays on.
   * The token proves the address too; whatever an account had before its address was proven is somebody else's, and ends with it.
   * @throws ApiError `invalid_reset_token`, `weak_password`; a weak password does not use the token up.
   */
  async reset(token: string, newPassword: string): Promise<void> {
    const user = await this.db.transaction(async (tx) => {
      const userId = await this.oneTimeTokens.redeem(token, 'reset_password', tx);
      if (!userId) throw AuthErrors.invalidResetToken();
      const found = await this.users.get(userId, tx);
      assertStrong(newPassword, found.email);
      return found;
    });

    // The token is claimed before anything is hashed, or hashing would be anybody's to order.
    const hash = await this.passwords.hash(newPassword).catch(async (error: unknown) => {
      await this.oneTimeTokens.giveBack(token, 'reset_password');
      throw error;
    });
    await this.db.transaction(async (tx) => {
      await this.users.setPassword(user.id, hash, undefined, tx);
      await this.oneTimeTokens.end(user.id, 'reset_password', tx);
      await this.sessions.endAll(user.id, null, tx);
      await this.attempts.clear({ email: user.email }, tx);
      if (!user.isVerified) {
        await this.apiKeys.deactivateAll(user.id, tx);
        if (user.twoFactorEnabled)
          await this.twoFactor.disable(user.id, { id: user.id, origin: null }, {}, tx);
        await this.users.markVerified(user.id, tx);
      }
      await this.mailer.send('password_changed', { userId: user.id }, tx);
    });
    this.sessions.forget(user.id);
    this.apiKeys.forget(user.id);
  }
}
