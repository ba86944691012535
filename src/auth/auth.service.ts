import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import type { RequestOrigin } from '../common/origin';
import { ENV, type Env } from '../config/env';
import { Audit } from '../platform/audit/audit';
import { Passwords } from '../platform/crypto/passwords';
import { Mailer } from '../platform/mail/mailer';
import type { User } from '../users/user.entity';
import { UserErrors } from '../users/users.errors';
import { type Profile, UsersService } from '../users/users.service';
import { AccessTokens } from './access-tokens';
import { AuthErrors } from './auth.errors';
import { signUpAttemptMail, verificationMail } from './auth.mails';
import { OneTimeTokens } from './one-time-tokens';
import { SessionsService } from './sessions.service';

const VERIFICATION_LIFE_MS = 24 * 60 * 60 * 1_000;

export interface Registration extends Profile {
  readonly email: string;
  readonly password: string;
}

export interface Login {
  readonly accessToken: string;
  readonly expiresInSeconds: number;
  readonly user: User;
}

@Injectable()
export class AuthService {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly passwords: Passwords,
    private readonly tokens: AccessTokens,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
    @Inject(ENV) private readonly env: Env,
  ) {}

  /**
   * Makes an account and mails its owner a link that proves the address.
   * @throws ApiError `email_taken`; with `SIGNUP_ENUMERATION_SAFE` a taken address gets the answer of a new one instead,
   * and its owner a mail.
   */
  async register(
    { email, password, firstName = null, lastName = null, company = null }: Registration,
    origin: RequestOrigin,
  ): Promise<User> {
    const input = { email, passwordHash: await this.passwords.hash(password), firstName, lastName, company };
    const made = await this.db.transaction(async (tx) => {
      const user = await this.users.create(input, tx);
      if (!user) return null;
      const by = { id: null, origin };
      await this.audit.record({ action: 'user.registered', by, subjectId: user.id }, tx);
      return {
        user,
        token: await this.oneTimeTokens.issue(user.id, 'verify_email', VERIFICATION_LIFE_MS, tx),
      };
    });

    if (made) {
      this.mailer.send(verificationMail(email, made.token, this.env.PUBLIC_URL));
      return made.user;
    }
    if (!this.env.SIGNUP_ENUMERATION_SAFE) throw UserErrors.emailTaken();
    this.mailer.send(signUpAttemptMail(email, this.env.PUBLIC_URL));
    return this.users.draft(input);
  }

  /**
   * Opens a session. An unknown address, a wrong password and a suspended account get the same answer after the same work.
   * @throws ApiError `invalid_login`.
   */
  async login(email: string, password: string, origin: RequestOrigin): Promise<Login> {
    const user = await this.users.findForLogin(email);
    const isRight = await this.passwords.verify(user?.passwordHash, password);
    if (!user || !isRight || !user.isActive) {
      this.audit.note({
        action: 'user.login_failed',
        by: { id: null, origin },
        subjectId: user?.id ?? null,
        result: 'failure',
      });
      throw AuthErrors.invalidLogin();
    }

    const newHash = this.passwords.needsRehash(user.passwordHash)
      ? await this.passwords.hash(password)
      : undefined;
    const sessionId = await this.db.transaction(async (tx) => {
      await this.users.noteLogin(user, newHash, tx);
      const opened = await this.sessions.open(user.id, tx);
      const by = { id: user.id, origin };
      await this.audit.record({ action: 'user.login', by, subjectId: user.id, targetId: opened }, tx);
      return opened;
    });
    return {
      accessToken: this.tokens.sign(user.id, sessionId),
      expiresInSeconds: this.tokens.lifeSeconds,
      user,
    };
  }

  /** @throws ApiError `invalid_verification_token`. */
  async verifyEmail(token: string, origin: RequestOrigin): Promise<void> {
    await this.db.transaction(async (tx) => {
      const userId = await this.oneTimeTokens.redeem(token, 'verify_email', tx);
      if (!userId) throw AuthErrors.invalidVerificationToken();
      await this.users.markVerified(userId, tx);
      await this.audit.record(
        { action: 'email.verified', by: { id: userId, origin }, subjectId: userId },
        tx,
      );
    });
  }
}
