import { Injectable } from '@nestjs/common';
import { EntityManager, QueryFailedError } from 'typeorm';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { Attempts } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { Passwords } from '../platform/crypto/passwords';
import { Mailer } from '../platform/mail/mailer';
import { lockForSession } from '../users/lock-user';
import { UserAddresses } from '../users/user-addresses';
import { UsersService } from '../users/users.service';
import { AuthErrors } from './auth.errors';
import { OneTimeTokens } from './one-time-tokens';
import { TakeBack } from './take-back';

/** PostgreSQL's unique_violation. */
const UNIQUE_VIOLATION = '23505';

/** Another address for an account: it counts once the new one has proven itself, and the old one can undo it for seven days. */
@Injectable()
export class EmailChangeService {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly addresses: UserAddresses,
    private readonly passwords: Passwords,
    private readonly attempts: Attempts,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly takeBack: TakeBack,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
  ) {}

  /**
   * Mails a link to the new address, whether somebody has it or not. The password is a guess like any other.
   * @param newEmail in canonical form.
   * @throws ApiError `wrong_password`, also while the account is locked; `email_unchanged`; `invalid_token` when the
   * session has ended, or the password has changed, meanwhile.
   */
  async request(
    principal: UserPrincipal,
    newEmail: string,
    currentPassword: string,
    origin: RequestOrigin,
  ): Promise<void> {
    const { userId } = principal;
    const user = await this.users.getForLogin(userId);
    if (newEmail === user.email) throw AuthErrors.emailUnchanged();
    const target = { email: user.email };
    const mayGuess = await this.attempts.take(target, origin);
    const isRight = await this.passwords.verify(mayGuess ? user.passwordHash : undefined, currentPassword);
    if (!isRight) throw AuthErrors.wrongPassword();

    await this.db.transaction(async (tx) => {
      await lockForSession(principal, tx, user.passwordHash);
      await this.attempts.giveBack(target, tx);
      const tokenId = await this.oneTimeTokens.issue(userId, 'change_email', tx, newEmail);
      await this.mailer.send('change_email', { tokenId }, tx);
      const details = { to: newEmail };
      const by = { id: userId, origin };
      await this.audit.record({ action: 'email.change_requested', by, subjectId: userId, details }, tx);
    });
  }

  /**
   * Switches to the address that the token was mailed to; whatever else was mailed to the account ends. An old address
   * that was never proven hears nothing and cannot undo it: it may be a stranger's, by a slip of the pen.
   * @throws ApiError `invalid_email_token`, also when somebody else has the address.
   */
  async confirm(token: string, origin: RequestOrigin): Promise<void> {
    await this.takenIsInvalid(async (tx) => {
      const redeemed = await this.oneTimeTokens.redeem(token, 'change_email', tx);
      if (redeemed?.email == null) throw AuthErrors.invalidEmailToken();
      const { userId, email } = redeemed;
      const old = await this.addresses.change(userId, email, tx);
      if (!old.isActive) throw AuthErrors.invalidEmailToken();
      await this.oneTimeTokens.endAll(userId, tx);
      if (old.isVerified) {
        const tokenId = await this.oneTimeTokens.issue(userId, 'undo_email', tx, old.email);
        await this.mailer.send('undo_email', { tokenId }, tx);
      }
      const details = { from: old.email, to: email };
      const by = { id: userId, origin };
      await this.audit.record({ action: 'email.changed', by, subjectId: userId, details }, tx);
    });
  }

  /**
   * Gives the account its old address back. Whoever changed it knows the password, so that ends too, and what he made
   * since; and what would undo this or a later change.
   * @throws ApiError `invalid_email_token`.
   */
  async undo(token: string, origin: RequestOrigin): Promise<void> {
    await this.takenIsInvalid(async (tx) => {
      const redeemed = await this.oneTimeTokens.redeem(token, 'undo_email', tx);
      if (redeemed?.email == null) throw AuthErrors.invalidEmailToken();
      const { userId, email, createdAt } = redeemed;
      await this.oneTimeTokens.endUndoings(userId, createdAt, tx);
      // Or a sign-up with the old address would be enough to keep it from its owner.
      const squatterId = await this.addresses.releaseUnproven(email, userId, tx);
      if (squatterId !== null) this.takeBack.forget(squatterId, tx);
      const { isActive } = await this.addresses.change(userId, email, tx);
      if (!isActive) throw AuthErrors.invalidEmailToken();
      await this.takeBack.endPassword(userId, tx);
      await this.takeBack.endAll(userId, tx, createdAt);
      await this.attempts.clear({ email }, tx);
      const tokenId = await this.oneTimeTokens.issue(userId, 'reset_password', tx);
      await this.mailer.send('email_change_undone', { tokenId }, tx);
      const entry = { action: 'email.change_undone', by: { id: userId, origin }, subjectId: userId } as const;
      await this.audit.record({ ...entry, details: { to: email } }, tx);
    });
  }

  /** The unique constraint decides who has an address; that somebody has it is not ours to tell. */
  private async takenIsInvalid(work: (tx: EntityManager) => Promise<void>): Promise<void> {
    try {
      await this.db.transaction(work);
    } catch (error) {
      const { code } = error instanceof QueryFailedError ? (error.driverError as { code?: string }) : {};
      throw code === UNIQUE_VIOLATION ? AuthErrors.invalidEmailToken() : error;
    }
  }
}
