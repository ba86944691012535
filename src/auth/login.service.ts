import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { ApiError, ErrorFactory } from '../common/api-error';
import { Clock } from '../common/clock';
import type { RequestOrigin } from '../common/origin';
import { type AttemptTarget, Attempts } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { Derivation } from '../platform/crypto/derivation';
import { Passwords } from '../platform/crypto/passwords';
import { changeAtOnce } from '../platform/database/one-statement';
import { LoginChallenges } from '../two-factor/login-challenges';
import { TwoFactorErrors } from '../two-factor/two-factor.errors';
import { type Proof, TwoFactorService } from '../two-factor/two-factor.service';
import type { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';
import { AccessTokens, type Tokens } from './access-tokens';
import { AuthErrors } from './auth.errors';
import { SessionsService } from './sessions.service';

export interface LoginInput {
  readonly email: string;
  readonly password: string;
  /** Of the second factor. */
  readonly code: string | undefined;
  /** Of an earlier log-in from the same device. */
  readonly deviceToken: string | undefined;
}

export interface Login extends Tokens {
  readonly deviceToken: string;
  readonly user: User;
  /** After a log-in with a backup code. */
  readonly backupCodesLeft: number | undefined;
}

/** A user who has shown everything that his log-in asks for; nothing of it is used up yet. */
interface ProvenLogin {
  readonly user: User;
  readonly target: AttemptTarget;
  /** Null: the account has no second factor. */
  readonly proof: Proof | null;
  /** Whether a log-in since then stops this one: a challenge opens one session. */
  readonly once: boolean;
  /** The answer when something of it is not true any more. */
  readonly refusal: ErrorFactory<[]>;
}

/** Logging in, in one step or in two. An attempt is taken before anything is compared, and given back when all was right. */
@Injectable()
export class LoginService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    private readonly passwords: Passwords,
    private readonly tokens: AccessTokens,
    private readonly twoFactor: TwoFactorService,
    private readonly challenges: LoginChallenges,
    private readonly attempts: Attempts,
    private readonly derivation: Derivation,
    private readonly audit: Audit,
  ) {}

  /**
   * Opens a session. An unknown address, a wrong password, a suspended and a locked account get the same answer after
   * the same work.
   * @throws ApiError `invalid_login`, also for a wrong code; `two_factor_required`, with a challenge for the second step.
   */
  async login({ email, password, code, deviceToken }: LoginInput, origin: RequestOrigin): Promise<Login> {
    const refusal = AuthErrors.invalidLogin;
    const user = await this.users.findForLogin(email);
    const target = { email, deviceId: this.deviceOf(deviceToken, user) };
    // Whoever is locked still waits for a hash, or the time would tell him.
    const mayGuess = await this.attempts.take(target, origin);
    const isRight = await this.passwords.verify(mayGuess ? user?.passwordHash : undefined, password);
    if (!user || !isRight || !user.isActive) throw this.refused(refusal, user, origin);

    const proof = user.twoFactorEnabled ? await this.proofOf(user, code, target, origin) : null;
    if (user.twoFactorEnabled && !proof) throw this.refused(refusal, user, origin);
    if (!(await this.strengthenHash(user, password))) throw this.refused(refusal, user, origin);
    return this.openSession({ user, target, proof, once: false, refusal }, origin);
  }

  /**
   * Opens a session with the challenge of a log-in without a code, and the code.
   * @throws ApiError `invalid_two_factor_code`.
   */
  async secondStep(
    challenge: string,
    code: string,
    deviceToken: string | undefined,
    origin: RequestOrigin,
  ): Promise<Login> {
    const refusal = TwoFactorErrors.loginRefused;
    const user = await this.challenges.userOf(challenge);
    if (!user) throw this.refused(refusal, user, origin);
    const target = { email: user.email, deviceId: this.deviceOf(deviceToken, user) };
    const mayGuess = await this.attempts.take(target, origin);
    const proof = mayGuess ? await this.examine(user, code, target, origin) : null;
    if (!proof) throw this.refused(refusal, user, origin);
    return this.openSession({ user, target, proof, once: true, refusal }, origin);
  }

  /**
   * The second factor of a log-in, or null for a wrong code.
   * @throws ApiError `two_factor_required` when there is no code. This attempt is given back; wrong codes stay counted.
   */
  private async proofOf(
    user: User,
    code: string | undefined,
    target: AttemptTarget,
    origin: RequestOrigin,
  ): Promise<Proof | null> {
    if (code) return this.examine(user, code, target, origin);
    const reset = await this.twoFactor.dueReset(user.id);
    if (reset) return reset;
    await this.attempts.giveBack(target);
    throw TwoFactorErrors.required.with({ challengeToken: this.challenges.issue(user) });
  }

  /** Takes an attempt at the second factor, then looks at the code; null when it is wrong, or there is no attempt left. */
  private async examine(
    user: User,
    code: string,
    target: AttemptTarget,
    origin: RequestOrigin,
  ): Promise<Proof | null> {
    const mayGuess = await this.attempts.take({ ...target, isSecondFactor: true }, origin);
    return mayGuess ? this.twoFactor.examine(user.id, code) : null;
  }

  /**
   * Replaces a hash that was made with other settings than now, with the password that was just verified.
   * @returns false when the password has been changed meanwhile.
   */
  private async strengthenHash(user: User, password: string): Promise<boolean> {
    if (!this.passwords.needsRehash(user.passwordHash)) return true;
    const hash = await this.passwords.hash(password);
    const isReplaced = await this.users.setPassword(user.id, hash, user.passwordHash);
    // Otherwise another log-in was first, most likely: then the hash is another one, of the same password.
    user.passwordHash = isReplaced ? hash : (await this.users.getForLogin(user.id)).passwordHash;
    return isReplaced || this.passwords.verify(user.passwordHash, password);
  }

  /**
   * Uses up what a user has shown, and opens his session: without a second factor in one statement. Where that is given
   * up because the database is slow, it may yet be carried out, as where an answer is lost: nobody has the tokens then.
   * @throws ApiError the refusal.
   */
  private async openSession(
    { user, target, proof, once, refusal }: ProvenLogin,
    origin: RequestOrigin,
  ): Promise<Login> {
    const by = { id: user.id, origin };
    const isReset = proof?.kind === 'reset';
    const hasSecondFactor = proof !== null && !isReset;
    const at = this.clock.now();
    const { session, effects } = this.sessions.opening(user.id, origin, hasSecondFactor);
    const details: Record<string, string> = proof ? { second_factor: proof.kind } : {};
    const targetId = session.sessionId;
    const changes = [
      this.attempts.givingBack(target),
      ...(hasSecondFactor ? [this.attempts.givingBack({ ...target, isSecondFactor: true })] : []),
      ...effects,
      ...(await this.audit.recording({ action: 'user.login', by, subjectId: user.id, targetId, details })),
    ];
    const open = async (db: EntityManager): Promise<void> => {
      const isOpened = await changeAtOnce(db, this.users.notingLogin(user, at, once), changes);
      if (!isOpened) throw this.refused(refusal, user, origin);
    };
    let backupCodesLeft: number | undefined;
    if (proof)
      await this.db.transaction(async (tx) => {
        await open(tx);
        if (!(await this.twoFactor.use(proof, by, user.id, tx))) throw this.refused(refusal, user, origin);
        if (isReset) await this.sessions.endAll(user.id, session.sessionId, tx);
        if (proof.kind === 'backup_code')
          backupCodesLeft = await this.twoFactor.backupCodesLeft(proof.factorId, tx);
      });
    else await open(this.db);
    user.lastLogin = at;
    if (isReset) {
      this.sessions.forget(user.id);
      user.twoFactorEnabled = false;
    }
    return {
      ...this.tokens.grant(session),
      deviceToken: this.derivation.token('device-token', target.deviceId ?? uuidv7(), deviceContext(user)),
      user,
      backupCodesLeft,
    };
  }

  private deviceOf(deviceToken: string | undefined, user: User | null): string | undefined {
    return (
      (deviceToken && user && this.derivation.idOf('device-token', deviceToken, deviceContext(user))) ||
      undefined
    );
  }

  /** Notes a refused log-in in the process log. @returns the error, to be thrown. */
  private refused(refusal: ErrorFactory<[]>, user: User | null, origin: RequestOrigin): ApiError {
    this.audit.note({
      action: 'user.login_failed',
      by: { id: null, origin },
      subjectId: user?.id ?? null,
      result: 'failure',
    });
    return refusal();
  }
}

/**
 * A device token ends with the password it was given for, and when the second factor is turned on: whoever had one
 * before must not have a counter of his own to guess codes by.
 */
function deviceContext({ id, passwordHash, twoFactorEnabled }: User): string {
  return twoFactorEnabled ? `${id}:${passwordHash}:two-factor` : `${id}:${passwordHash}`;
}
