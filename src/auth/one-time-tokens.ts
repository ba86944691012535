import { Injectable } from '@nestjs/common';
import { EntityManager, IsNull, MoreThan } from 'typeorm';
import { parse, stringify, v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import { Derivation } from '../platform/crypto/derivation';
import type { User } from '../users/user.entity';
import { OneTimeToken, type TokenPurpose } from './one-time-token.entity';

const ID_BYTES = 16;
const TOKEN_BYTES = ID_BYTES + 32;

/** Tokens for mailed links: a row's id and its HMAC, in base64url. Whoever reads the table cannot make one. */
@Injectable()
export class OneTimeTokens {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
  ) {}

  /**
   * Makes a token that works once, for `lifeMs` milliseconds; earlier ones of the same user and purpose end.
   * @returns the id of its row, by which {@link find} gives the token to whoever mails it.
   */
  async issue(
    userId: string,
    purpose: TokenPurpose,
    lifeMs: number,
    tx: EntityManager = this.db,
  ): Promise<string> {
    const now = this.clock.now();
    const id = uuidv7();
    await tx.update(OneTimeToken, { userId, purpose, usedAt: IsNull() }, { usedAt: now });
    const expiresAt = new Date(now.getTime() + lifeMs);
    await tx.insert(OneTimeToken, { id, userId, purpose, createdAt: now, expiresAt, usedAt: null });
    return id;
  }

  /** A token by the id of its row, with its owner; null once it was used or replaced, or has expired. */
  async find(
    id: string,
    purpose: TokenPurpose,
    tx: EntityManager = this.db,
  ): Promise<{ token: string; user: User } | null> {
    const row = await tx.findOne(OneTimeToken, {
      where: { id, purpose, usedAt: IsNull(), expiresAt: MoreThan(this.clock.now()) },
      relations: { user: true },
    });
    return row?.user ? { token: this.tokenOf(row), user: row.user } : null;
  }

  /**
   * Uses a token up, in one statement: of parallel tries one wins.
   * @returns whose it was, or null when it is not a token, was used, has expired or is for something else.
   */
  async redeem(token: string, purpose: TokenPurpose, tx: EntityManager = this.db): Promise<string | null> {
    const bytes = Buffer.from(token, 'base64url');
    if (bytes.length !== TOKEN_BYTES) return null;
    const id = idOf(bytes);
    if (!id || !this.derivation.isMac('mail-token', `${purpose}:${id}`, bytes.subarray(ID_BYTES)))
      return null;

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

  private tokenOf({ id, purpose }: OneTimeToken): string {
    return Buffer.concat([parse(id), this.derivation.mac('mail-token', `${purpose}:${id}`)]).toString(
      'base64url',
    );
  }
}

function idOf(bytes: Buffer): string | null {
  try {
    return stringify(bytes.subarray(0, ID_BYTES));
  } catch {
    return null;
  }
}
