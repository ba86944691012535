import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { LOG } from '../common/log-token';
import type { RequestOrigin } from '../common/origin';
import { ENV, type Env } from '../config/env';
import { Attempts } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { Derivation } from '../platform/crypto/derivation';
import { Passwords } from '../platform/crypto/passwords';
import { Mailer } from '../platform/mail/mailer';
import type { User } from '../users/user.entity';
import { UserErrors } from '../users/users.errors';
import { type Profile, UsersService } from '../users/users.service';
import { AccessTokens } from './access-tokens';
import { AuthErrors } from './auth.errors';
import { OneTimeTokens } from './one-time-tokens';
import { assertStrong } from './password-policy';
import { type Refreshed, SessionsService } from './sessions.service';

export interface Registration extends Profile {
  readonly email: string;
  readonly password: string;
}

/** What opens the API for a while. */
export interface Tokens {
  readonly accessToken: string;
  readonly expiresInSeconds: number;
  readonly refreshToken: string;
}

export interface LoginInput {
  readonly email: string;
  readonly password: string;
  /** Of an earlier log-in from the same device. */
  readonly deviceToken: string | undefined;
}

export interface Login extends Tokens {
  readonly deviceToken: string;
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
    private readonly attempts: Attempts,
    private readonly derivation: Derivation,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
    @Inject(ENV) private readonly env: Env,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /**
   * Makes an account and mails its owner a link that proves the address.
   * @throws ApiError `weak_password`, or `email_taken`; with `SIGNUP_ENUMERATION_SAFE` a taken address gets the answer of a new one instead,
   * and its owner a mail.
   */
  async register(
    { email, password, firstName = null, lastName = null, company = null }: Registration,
    origin: RequestOrigin,
  ): Promise<User> {
    assertStrong(password, email);
    const input = { email, passwordHash: await this.passwords.hash(password), firstName, lastName, company };
    const made = await this.db.transaction(async (tx) => {
      const user = await this.users.create(input, tx);
      // A taken address costs the statements of a new one, or the answer's time would tell what the answer does not.
      const subjectId = user ? user.id : await this.users.idOf(email, tx);
      const purpose = user ? 'verify_email' : 'sign_up_attempt';
      await this.audit.record(
        user
          ? { action: 'user.registered', by: { id: null, origin }, subjectId }
          : { action: 'user.sign_up_attempt', by: { id: null, origin }, subjectId, result: 'failure' },
        tx,
      );
      if (subjectId && (user || this.env.SIGNUP_ENUMERATION_SAFE)) {
        const tokenId = await this.oneTimeTokens.issue(subjectId, purpose, tx);
        await this.mailer.send(purpose, { tokenId }, tx);
      }
      return user;
    });
    if (!made && !this.env.SIGNUP_ENUMERATION_SAFE) throw UserErrors.emailTaken();
    return made ?? this.users.draft(input);
  }

  /**
   * Opens a session. An unknown address, a wrong password, a suspended and a locked account get the same answer after
   * the same work.
   * @throws ApiError `invalid_login`.
   */
  async login({ email, password, deviceToken }: LoginInput, origin: RequestOrigin): Promise<Login> {
    const user = await this.users.findForLogin(email);
    const target = { email, deviceId: this.deviceOf(deviceToken, user) };
    // Whoever is locked still waits for a hash, or the time would tell him.
    const mayGuess = await this.attempts.take(target);
    const isRight = await this.passwords.verify(mayGuess ? user?.passwordHash : undefined, password);
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
    const opened = await this.db.transaction(async (tx) => {
      await this.attempts.giveBack(target, tx);
      if (!(await this.users.noteLogin(user, newHash, tx))) throw AuthErrors.invalidLogin();
      const session = await this.sessions.open(user.id, origin, tx);
      const by = { id: user.id, origin };
      const targetId = session.sessionId;
      await this.audit.record({ action: 'user.login', by, subjectId: user.id, targetId }, tx);
      return session;
    });
    return {
      ...this.tokensFor(opened),
      deviceToken: this.derivation.token('device-token', target.deviceId ?? uuidv7(), deviceContext(user)),
      user,
    };
  }

  /**
   * Exchanges a refresh token for an access token and the next refresh token.
   * @throws ApiError `invalid_refresh_token`; when the token was used before, its session ends and the user is told.
   */
  async refresh(refreshToken: string, origin: RequestOrigin): Promise<Tokens> {
    const outcome = await this.sessions.refresh(refreshToken, origin);
    if (!('reusedBy' in outcome)) return this.tokensFor(outcome);
    this.log.warn(
      {
        event: 'refresh_token_reused',
        user_id: outcome.reusedBy,
        ip: origin.ip,
        request_id: origin.requestId,
      },
      'security',
    );
    throw AuthErrors.invalidRefreshToken();
  }

  private tokensFor({ userId, sessionId, refreshToken }: Refreshed): Tokens {
    return {
      accessToken: this.tokens.sign(userId, sessionId),
      expiresInSeconds: this.tokens.lifeSeconds,
      refreshToken,
    };
  }

  private deviceOf(deviceToken: string | undefined, user: User | null): string | undefined {
    return (
      (deviceToken && user && this.derivation.idOf('device-token', deviceToken, deviceContext(user))) ||
      undefined
    );
  }
}

/** A device token ends with the password it was given for: whoever had an old one has no counter of his own. */
function deviceContext({ id, passwordHash }: User): string {
  return `${id}:${passwordHash}`;
}
