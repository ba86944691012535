import { Injectable } from '@nestjs/common';
import { EntityManager, IsNull, MoreThan } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import { Derivation } from '../platform/crypto/derivation';
import type { User } from '../users/user.entity';
import { OneTimeToken, type TokenPurpose } from './one-time-token.entity';

const MINUTE_MS = 60_000;

/** How long a token works, counted from when it is mailed. */
const LIFE_MS: Readonly<Record<TokenPurpose, number>> = {
  verify_email: 24 * 60 * MINUTE_MS,
  sign_up_attempt: 24 * 60 * MINUTE_MS,
  reset_password: 15 * MINUTE_MS,
};

/** Tokens for mailed links: a row's id and its HMAC, in base64url. Whoever reads the table cannot make one. */
@Injectable()
export class OneTimeTokens {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
  ) {}

  /**
   * Makes a token that works once; earlier ones of the same user and purpose end.
   * @returns the id of its row, by which {@link mail} gives the token to whoever writes the mail.
   */
  async issue(userId: string, purpose: TokenPurpose, tx: EntityManager = this.db): Promise<string> {
    const id = uuidv7();
    const createdAt = this.clock.now();
    await this.endAll(userId, purpose, tx);
    await tx.insert(OneTimeToken, {
      id,
      userId,
      purpose,
      createdAt,
      expiresAt: this.expiry(purpose),
      usedAt: null,
    });
    return id;
  }

  /**
   * Gives a token by the id of its row, with its owner, to be mailed. Its life begins now: however long the mail
   * server was down, nobody gets a link that is over.
   * @returns null when it was used or replaced.
   */
  async mail(id: string, purpose: TokenPurpose): Promise<{ token: string; user: User } | null> {
    const isUnused = { id, purpose, usedAt: IsNull() };
    await this.db.update(OneTimeToken, isUnused, { expiresAt: this.expiry(purpose) });
    const row = await this.db.findOne(OneTimeToken, { where: isUnused, relations: { user: true } });
    return row?.user ? { token: this.derivation.token('mail-token', id, purpose), user: row.user } : null;
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

  private expiry(purpose: TokenPurpose): Date {
    return new Date(this.clock.nowMs() + LIFE_MS[purpose]);
  }
}
