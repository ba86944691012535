import { Injectable } from '@nestjs/common';
import { EntityManager, IsNull, LessThanOrEqual, Not } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import type { RequestOrigin } from '../common/origin';
import { type Actor, Audit } from '../platform/audit/audit';
import { Derivation } from '../platform/crypto/derivation';
import { Mailer } from '../platform/mail/mailer';
import type { User } from '../users/user.entity';
import { TwoFactor } from './two-factor.entity';
import { TwoFactorErrors } from './two-factor.errors';

/** So long the owner can stop a reset before it takes effect. */
const DELAY_MS = 24 * 60 * 60 * 1_000;

/** A reset that waits already goes on as it is. */
const REQUEST_SQL = `
  UPDATE two_factors SET reset_id = coalesce(reset_id, $2), reset_at = coalesce(reset_at, $3)
  WHERE user_id = $1 AND enabled_at IS NOT NULL RETURNING reset_id, reset_at`;

const STOP_SQL = `
  UPDATE two_factors SET reset_id = NULL, reset_at = NULL WHERE reset_id = $1 RETURNING user_id`;

/** A reset that waits, to be mailed to its owner. */
export interface WaitingReset {
  readonly user: User;
  readonly resetAt: Date;
  /** Stops it. */
  readonly token: string;
}

/**
 * Resets for who has lost phone and backup codes. An admin asks for one, the owner is told, and a day later a log-in
 * without a code turns the second factor off, unless the owner has stopped it by then.
 */
@Injectable()
export class TwoFactorResets {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
  ) {}

  /**
   * Asks for a reset; asking again changes nothing.
   * @returns when it takes effect.
   * @throws ApiError `two_factor_not_enabled`.
   */
  async request(userId: string, by: Actor, tx: EntityManager): Promise<Date> {
    const id = uuidv7();
    const at = new Date(this.clock.nowMs() + DELAY_MS);
    const [[row]] = await tx.query<[{ reset_id: string; reset_at: Date }[], number]>(REQUEST_SQL, [
      userId,
      id,
      at,
    ]);
    if (!row) throw TwoFactorErrors.notEnabled();
    if (row.reset_id === id) {
      await this.audit.record({ action: 'two_factor.reset_requested', by, subjectId: userId }, tx);
      await this.mailer.send('two_factor_reset', { resetId: id }, tx);
    }
    return row.reset_at;
  }

  /** What the mail about a reset says; null when it was stopped or used. */
  async mail(resetId: string): Promise<WaitingReset | null> {
    const factor = await this.db.findOne(TwoFactor, { where: { resetId }, relations: { user: true } });
    if (!factor?.user || !factor.resetAt) return null;
    return {
      user: factor.user,
      resetAt: factor.resetAt,
      token: this.derivation.token('stop-reset', resetId, ''),
    };
  }

  /**
   * Stops a reset with the mailed token, also after its time has come, while nobody has used it.
   * @throws ApiError `invalid_stop_token`.
   */
  async stop(token: string, origin: RequestOrigin): Promise<void> {
    const id = this.derivation.idOf('stop-reset', token, '');
    await this.db.transaction(async (tx) => {
      const [[row]] = await tx.query<[{ user_id: string }[], number]>(STOP_SQL, [id]);
      if (!row) throw TwoFactorErrors.invalidStopToken();
      const by = { id: row.user_id, origin };
      await this.audit.record({ action: 'two_factor.reset_stopped', by, subjectId: row.user_id }, tx);
    });
  }

  /** The factor that the due reset of a user ends, or null. */
  async due(userId: string): Promise<string | null> {
    const where = { userId, resetAt: LessThanOrEqual(this.clock.now()) };
    return (await this.db.findOneBy(TwoFactor, where))?.id ?? null;
  }

  /** Ends a factor whose reset is due. @returns false when it was stopped or used meanwhile. */
  async use(factorId: string, tx: EntityManager): Promise<boolean> {
    const isDue = { id: factorId, resetAt: LessThanOrEqual(this.clock.now()) };
    return (await tx.delete(TwoFactor, isDue)).affected === 1;
  }

  /** Stops the reset that waits for a user, if there is one. */
  async stopWaiting(userId: string, by: Actor, tx: EntityManager): Promise<void> {
    const isWaiting = { userId, resetId: Not(IsNull()) };
    const { affected } = await tx.update(TwoFactor, isWaiting, { resetAt: null, resetId: null });
    if (affected === 1)
      await this.audit.record({ action: 'two_factor.reset_stopped', by, subjectId: userId }, tx);
  }
}
