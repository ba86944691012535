import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import type { Logger } from 'pino';
import { LOG } from '../common/log-token';
import type { RequestOrigin } from '../common/origin';
import { ENV, type Env } from '../config/env';
import { Audit } from '../platform/audit/audit';
import { Passwords } from '../platform/crypto/passwords';
import { Mailer } from '../platform/mail/mailer';
import type { User } from '../users/user.entity';
import { UserErrors } from '../users/users.errors';
import { type Profile, UsersService } from '../users/users.service';
import { AccessTokens, type Tokens } from './access-tokens';
import { AuthErrors } from './auth.errors';
import { BreachedPasswords } from './breached-passwords';
import { OneTimeTokens } from './one-time-tokens';
import { assertStrong } from './password-policy';
import { SessionsService } from './sessions.service';

export interface Registration extends Profile {
  readonly email: string;
  readonly password: string;
}

@Injectable()
export class AuthService {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly passwords: Passwords,
    private readonly breachedPasswords: BreachedPasswords,
    private readonly tokens: AccessTokens,
    private readonly oneTimeTokens: OneTimeTokens,
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
    await this.breachedPasswords.assertUnknown(password);
    const input = { email, passwordHash: await this.passwords.hash(password), firstName, lastName, company };
    const made = await this.db.transaction(async (tx) => {
      const user = await this.users.create(input, tx);
      // A taken address costs the statements of a new one, or the answer's time would tell what the answer does not.
      const subjectId = await this.users.idOf(email, tx);
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
   * Exchanges a refresh token for an access token and the next refresh token.
   * @throws ApiError `invalid_refresh_token`; when the token was used before, its session ends and the user is told.
   */
  async refresh(refreshToken: string, origin: RequestOrigin): Promise<Tokens> {
    const outcome = await this.sessions.refresh(refreshToken, origin);
    if (!('reusedBy' in outcome)) return this.tokens.grant(outcome);
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
}
