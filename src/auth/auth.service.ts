import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ENV, type Env } from '../config/env';
import { Passwords } from '../platform/crypto/passwords';
import { Mailer } from '../platform/mail/mailer';
import type { User } from '../users/user.entity';
import { UserErrors } from '../users/users.errors';
import { type Profile, UsersService } from '../users/users.service';
import { AccessTokens } from './access-tokens';
import { AuthErrors } from './auth.errors';
import { OneTimeTokens } from './one-time-tokens';
import { SessionsService } from './sessions.service';

const MAIL_TOKEN_LIFE_MS = 24 * 60 * 60 * 1_000;

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
    @Inject(ENV) private readonly env: Env,
  ) {}

  /**
   * Makes an account and mails its owner a link that proves the address.
   * @throws ApiError `email_taken`; with `SIGNUP_ENUMERATION_SAFE` a taken address gets the answer of a new one instead,
   * and its owner a mail.
   */
  async register({
    email,
    password,
    firstName = null,
    lastName = null,
    company = null,
  }: Registration): Promise<User> {
    const input = { email, passwordHash: await this.passwords.hash(password), firstName, lastName, company };
    return this.db.transaction(async (tx) => {
      const made = await this.users.create(input, tx);
      if (!made && !this.env.SIGNUP_ENUMERATION_SAFE) throw UserErrors.emailTaken();

      // A taken address costs the statements of a new one, or the answer's time would tell what the answer does not.
      const userId = await this.users.idOf(email, tx);
      const purpose = made ? 'verify_email' : 'sign_up_attempt';
      if (userId) {
        const tokenId = await this.oneTimeTokens.issue(userId, purpose, MAIL_TOKEN_LIFE_MS, tx);
        await this.mailer.send(purpose, { tokenId }, tx);
      }
      return made ?? this.users.draft(input);
    });
  }

  /**
   * Opens a session. An unknown address, a wrong password and a suspended account get the same answer after the same work.
   * @throws ApiError `invalid_login`.
   */
  async login(email: string, password: string): Promise<Login> {
    const user = await this.users.findForLogin(email);
    const isRight = await this.passwords.verify(user?.passwordHash, password);
    if (!user || !isRight || !user.isActive) throw AuthErrors.invalidLogin();

    const newHash = this.passwords.needsRehash(user.passwordHash)
      ? await this.passwords.hash(password)
      : undefined;
    const sessionId = await this.db.transaction(async (tx) => {
      await this.users.noteLogin(user, newHash, tx);
      return this.sessions.open(user.id, tx);
    });
    return {
      accessToken: this.tokens.sign(user.id, sessionId),
      expiresInSeconds: this.tokens.lifeSeconds,
      user,
    };
  }

  /** @throws ApiError `invalid_verification_token`. */
  async verifyEmail(token: string): Promise<void> {
    await this.db.transaction(async (tx) => {
      const userId = await this.oneTimeTokens.redeem(token, 'verify_email', tx);
      if (!userId) throw AuthErrors.invalidVerificationToken();
      await this.users.markVerified(userId, tx);
    });
  }
}
