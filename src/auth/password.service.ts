import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { Attempts } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { Passwords } from '../platform/crypto/passwords';
import { Jobs } from '../platform/jobs/jobs';
import { Mailer } from '../platform/mail/mailer';
import { lockForSession, lockUser } from '../users/lock-user';
import { UsersService } from '../users/users.service';
import { AuthErrors } from './auth.errors';
import { BreachedPasswords } from './breached-passwords';
import { OneTimeTokens } from './one-time-tokens';
import { assertStrong } from './password-policy';
import { SessionsService } from './sessions.service';
import { TakeBack } from './take-back';

const RESET_JOB = 'password_reset';

/** A type and not an interface: only a type is taken for a record. */
type ResetJob = { readonly userId: string; readonly origin: RequestOrigin };

/** Changing a password, with the old one or with a mailed token. */
@Injectable()
export class PasswordService implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly takeBack: TakeBack,
    private readonly passwords: Passwords,
    private readonly breachedPasswords: BreachedPasswords,
    private readonly attempts: Attempts,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly jobs: Jobs,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<ResetJob>(RESET_JOB, (job) => this.mailReset(job));
  }

  /**
   * Changes the password and ends all other sessions. The current one is a guess like any other.
   * @throws ApiError `wrong_password`, also while the account is locked; `weak_password`; `invalid_token` when the
   * session has ended meanwhile.
   */
  async change(
    principal: UserPrincipal,
    currentPassword: string,
    newPassword: string,
    origin: RequestOrigin,
  ): Promise<void> {
    const { userId, sessionId } = principal;
    const user = await this.users.getForLogin(userId);
    assertStrong(newPassword, user.email);
    await this.breachedPasswords.assertUnknown(newPassword);
    const target = { email: user.email };
    const mayGuess = await this.attempts.take(target, origin);
    const isRight = await this.passwords.verify(mayGuess ? user.passwordHash : undefined, currentPassword);
    if (!isRight) throw AuthErrors.wrongPassword();

    const hash = await this.passwords.hash(newPassword);
    await this.db.transaction(async (tx) => {
      await lockForSession(principal, tx);
      if (!(await this.users.setPassword(userId, hash, user.passwordHash, tx)))
        throw AuthErrors.wrongPassword();
      await this.attempts.giveBack(target, tx);
      // The links of a sign-up stay: "not me" must work also after whoever signed up has changed the password.
      await this.oneTimeTokens.endAll(userId, tx, ['reset_password', 'change_email']);
      await this.sessions.endAll(userId, sessionId, tx);
      const by = { id: userId, origin };
      await this.audit.record({ action: 'password.changed', by, subjectId: userId }, tx);
      await this.mailer.send('password_changed', { userId }, tx);
    });
    this.sessions.forget(userId);
  }

  /**
   * Mails a link that sets a new password, if there is such an account. An address that nobody has costs the same, or
   * the answer's time would tell: a job too, which finds no account.
   */
  async requestReset(email: string, origin: RequestOrigin): Promise<void> {
    const userId = await this.users.idOf(email);
    await this.jobs.send(RESET_JOB, { userId: userId ?? uuidv7(), origin } satisfies ResetJob, this.db);
  }

  private async mailReset({ userId, origin }: ResetJob): Promise<void> {
    if (!(await this.users.find(userId))) return;
    await this.db.transaction(async (tx) => {
      const { isActive } = await lockUser(userId, tx);
      if (!isActive) return;
      const tokenId = await this.oneTimeTokens.issue(userId, 'reset_password', tx);
      await this.mailer.send('reset_password', { tokenId }, tx);
      const by = { id: null, origin };
      await this.audit.record({ action: 'password.reset_requested', by, subjectId: userId }, tx);
    });
  }

  /**
   * Sets a new password with a mailed token, and ends all sessions and the lock of the account. A second factor stays on.
   * The token proves the address too; whatever an account had before its address was proven is somebody else's, and ends with it.
   * @throws ApiError `invalid_reset_token`, `weak_password`; a weak password does not use the token up.
   */
  async reset(token: string, newPassword: string, origin: RequestOrigin): Promise<void> {
    // Asked before anybody else is asked or anything is hashed, or both would be anybody's to order.
    const userId = await this.oneTimeTokens.ownerOf(token, 'reset_password');
    if (userId === null) throw AuthErrors.invalidResetToken();
    const { email } = await this.users.get(userId);
    assertStrong(newPassword, email);
    const hash = await this.hashOf(newPassword);
    await this.db.transaction(async (tx) => {
      const user = await lockUser(userId, tx);
      // Used up with what it is for: a process that dies before that leaves it as it was.
      if (!user.isActive || !(await this.oneTimeTokens.redeem(token, 'reset_password', tx)))
        throw AuthErrors.invalidResetToken();
      await this.users.setPassword(user.id, hash, undefined, tx);
      if (user.isVerified) {
        await this.sessions.endAll(user.id, null, tx);
        await this.oneTimeTokens.endAll(user.id, tx);
        this.takeBack.forget(user.id, tx);
      } else {
        await this.takeBack.endAll(user.id, tx);
        await this.users.markVerified(user.id, tx);
      }
      await this.attempts.clear({ email: user.email }, tx);
      const by = { id: user.id, origin };
      await this.audit.record({ action: 'password.reset', by, subjectId: user.id }, tx);
      await this.mailer.send('password_changed', { userId: user.id }, tx);
    });
  }

  /** @throws ApiError `weak_password`, or `service_unavailable` when too many wait. */
  private async hashOf(password: string): Promise<string> {
    await this.breachedPasswords.assertUnknown(password);
    return this.passwords.hash(password);
  }
}
