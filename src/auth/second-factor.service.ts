import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { Attempts } from '../limits/attempts';
import { Audit } from '../platform/audit/audit';
import { Passwords } from '../platform/crypto/passwords';
import { type Proof, type Setup, TwoFactorService } from '../two-factor/two-factor.service';
import { TwoFactorErrors } from '../two-factor/two-factor.errors';
import { lockForSession } from '../users/lock-user';
import type { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';
import { OneTimeTokens } from './one-time-tokens';
import { SessionsService } from './sessions.service';

/** What a user does about his second factor in a session. Every code and password is a guess at the account, counted before it is compared. */
@Injectable()
export class SecondFactorService {
  constructor(
    private readonly db: EntityManager,
    private readonly users: UsersService,
    private readonly twoFactor: TwoFactorService,
    private readonly sessions: SessionsService,
    private readonly oneTimeTokens: OneTimeTokens,
    private readonly attempts: Attempts,
    private readonly passwords: Passwords,
    private readonly audit: Audit,
  ) {}

  /** Begins a set-up; one that was begun before ends. */
  async setUp({ userId }: UserPrincipal): Promise<Setup> {
    return this.twoFactor.setUp(await this.users.get(userId));
  }

  /**
   * Turns the second factor on, or moves it to another app, with the first code of the set-up; ends all other sessions,
   * and a change of the address that waits to be confirmed.
   * @returns ten backup codes, which are told this once.
   * @throws ApiError `two_factor_setup_missing`, `wrong_two_factor_code`.
   */
  async enable(principal: UserPrincipal, code: string, origin: RequestOrigin): Promise<readonly string[]> {
    const { userId } = principal;
    const setup = await this.twoFactor.setupOf(userId);
    const user = await this.users.getForLogin(userId);
    const step = (await this.attempts.take(user, origin)) ? this.twoFactor.stepOf(setup, code) : null;
    if (step === null) throw this.refused(userId, origin);

    const backupCodes = await this.twoFactor.makeBackupCodes(setup);
    await this.change(principal, user, async (tx) => {
      await this.twoFactor.enable(setup, step, backupCodes, { id: userId, origin }, tx);
      await this.sessions.endAll(userId, principal.sessionId, tx);
      // Asked for without a second factor, and to be confirmed with none.
      await this.oneTimeTokens.endAll(userId, tx, ['change_email']);
      await this.sessions.noteSecondFactor(principal.sessionId, tx);
    });
    return backupCodes.codes;
  }

  /**
   * Renews the session's proof of a second factor.
   * @throws ApiError `two_factor_not_enabled`, `wrong_two_factor_code`.
   */
  async verify(principal: UserPrincipal, code: string, origin: RequestOrigin): Promise<void> {
    const user = await this.users.getForLogin(principal.userId);
    const proof = await this.prove(user, code, origin);
    await this.change(principal, user, async (tx) => {
      await this.use(proof, user.id, origin, tx);
      await this.sessions.noteSecondFactor(principal.sessionId, tx);
    });
  }

  /**
   * Turns the second factor off and ends all other sessions.
   * @throws ApiError `two_factor_not_enabled`, `wrong_two_factor_code` also for a wrong password.
   */
  async disable(
    principal: UserPrincipal,
    password: string,
    code: string,
    origin: RequestOrigin,
  ): Promise<void> {
    const user = await this.users.getForLogin(principal.userId);
    const proof = await this.prove(user, code, origin, password);
    await this.change(principal, user, async (tx) => {
      const by = { id: user.id, origin };
      await this.use(proof, user.id, origin, tx);
      await this.twoFactor.disable(user.id, by, {}, tx);
      await this.sessions.endAll(user.id, principal.sessionId, tx);
    });
  }

  /**
   * Makes new backup codes and ends the old ones.
   * @throws ApiError `two_factor_not_enabled`, `wrong_two_factor_code` also for a wrong password.
   */
  async replaceBackupCodes(
    principal: UserPrincipal,
    password: string,
    code: string,
    origin: RequestOrigin,
  ): Promise<readonly string[]> {
    const user = await this.users.getForLogin(principal.userId);
    const proof = await this.prove(user, code, origin, password);
    const factor = await this.twoFactor.inUse(user.id);
    const backupCodes = await this.twoFactor.makeBackupCodes(factor);
    await this.change(principal, user, async (tx) => {
      await this.use(proof, user.id, origin, tx);
      await this.twoFactor.replaceBackupCodes(factor, backupCodes, { id: user.id, origin }, tx);
    });
    return backupCodes.codes;
  }

  /** Takes an attempt, then compares the code, and the password where one is asked for. */
  private async prove(user: User, code: string, origin: RequestOrigin, password?: string): Promise<Proof> {
    await this.twoFactor.inUse(user.id);
    const mayGuess = await this.attempts.take(user, origin);
    const isRight =
      password === undefined ||
      (await this.passwords.verify(mayGuess ? user.passwordHash : undefined, password));
    const proof = mayGuess && isRight ? await this.twoFactor.examine(user.id, code) : null;
    if (!proof) throw this.refused(user.id, origin);
    return proof;
  }

  private async use(proof: Proof, userId: string, origin: RequestOrigin, tx: EntityManager): Promise<void> {
    const isNew = await this.twoFactor.use(proof, { id: userId, origin }, userId, tx);
    if (!isNew) throw this.refused(userId, origin);
  }

  private refused(userId: string, origin: RequestOrigin): Error {
    this.audit.note({
      action: 'two_factor.refused',
      by: { id: userId, origin },
      subjectId: userId,
      result: 'failure',
    });
    return TwoFactorErrors.wrongCode();
  }

  /**
   * Makes a change, if the session and the password are still those for which it was proven, and gives back the attempt
   * that was right for it. After the commit this process believes nothing it knew of the sessions.
   * @throws ApiError `invalid_token`.
   */
  private async change(
    principal: UserPrincipal,
    { email, passwordHash }: User,
    work: (tx: EntityManager) => Promise<void>,
  ): Promise<void> {
    await this.db.transaction(async (tx) => {
      await lockForSession(principal, tx, passwordHash);
      await work(tx);
      await this.attempts.giveBack({ email }, tx);
    });
    this.sessions.forget(principal.userId);
  }
}
