import { Injectable } from '@nestjs/common';
import { EntityManager, IsNull, MoreThan } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import { Derivation } from '../platform/crypto/derivation';
import { OneTimeToken, type TokenPurpose } from './one-time-token.entity';

/** Tokens for mailed links: a row's id and its HMAC, in base64url. Whoever reads the table cannot make one. */
@Injectable()
export class OneTimeTokens {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
  ) {}

  /** Makes a token that works once, for `lifeMs` milliseconds; earlier ones of the same user and purpose end. */
  async issue(
    userId: string,
    purpose: TokenPurpose,
    lifeMs: number,
    tx: EntityManager = this.db,
  ): Promise<string> {
    const now = this.clock.now();
    const id = uuidv7();
    await this.endAll(userId, purpose, tx);
    const expiresAt = new Date(now.getTime() + lifeMs);
    await tx.insert(OneTimeToken, { id, userId, purpose, createdAt: now, expiresAt, usedAt: null });
    return this.derivation.token('mail-token', id, purpose);
  }

  /** Ends all unused tokens of a user and purpose. */
  async endAll(userId: string, purpose: TokenPurpose, tx: EntityManager = this.db): Promise<void> {
    await tx.update(OneTimeToken, { userId, purpose, usedAt: IsNull() }, { usedAt: this.clock.now() });
  }

  /** Makes a token usable again that was redeemed for something that could not be done just now. */
  async giveBack(token: string, purpose: TokenPurpose): Promise<void> {
    const id = this.derivation.idOf('mail-token', token, purpose);
    if (id) await this.db.update(OneTimeToken, { id, purpose }, { usedAt: null });
  }

  /**
   * Uses a token up, in one statement: of parallel tries one wins.
   * @returns whose it was, or null when it is not a token, was used, has expired or is for something else.
   */
  async redeem(token: string, purpose: TokenPurpose, tx: EntityManager = this.db): Promise<string | null> {
    const id = this.derivation.idOf('mail-token', token, purpose);
    if (!id) return null;

    const now = this.clock.now();
    const result = await tx
      .createQueryBuilder()
      .update(OneTimeToken)
      .set({ usedAt: now })
      .where({ id, purpose, usedAt: IsNull(), expiresAt: MoreThan(now) })
      .returning('user_id')
      .execute();
    return (result.raw as { user_id: string }[])[0]?.user_id ?? null;
  }
}
