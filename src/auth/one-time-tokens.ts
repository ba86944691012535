import { timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { EntityManager, In, IsNull, MoreThan, MoreThanOrEqual } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import { Derivation } from '../platform/crypto/derivation';
import type { User } from '../users/user.entity';
import { OneTimeToken, type TokenPurpose } from './one-time-token.entity';

const MINUTE_MS = 60_000;
const CODES = 1_000_000;
/** Stands for a purpose where a second token is derived from the row of a verification. */
const NOT_ME = 'not_me';

/** How long a token works, counted from when it is mailed. */
const LIFE_MS: Readonly<Record<TokenPurpose, number>> = {
  verify_email: 24 * 60 * MINUTE_MS,
  sign_up_attempt: 24 * 60 * MINUTE_MS,
  reset_password: 15 * MINUTE_MS,
  change_email: 60 * MINUTE_MS,
  undo_email: 7 * 24 * 60 * MINUTE_MS,
};

/** For so long after one, no further token of the purpose is made: what anybody can cause must not flood a mailbox. */
const QUIET_MS: Partial<Readonly<Record<TokenPurpose, number>>> = { sign_up_attempt: 60 * MINUTE_MS };

/** What a mail says of a token. */
export interface MailedToken {
  readonly token: string;
  /** Six digits that stand for it. */
  readonly code: string;
  /** Of a verification: says that its reader did not sign up. */
  readonly notMeToken: string;
  readonly user: User;
  /** The address that the token is about, when that is not the account's own. */
  readonly email: string | null;
}

/** A token that was used up. */
export type Redeemed = Pick<OneTimeToken, 'userId' | 'email' | 'createdAt'>;

/**
 * The new token takes the place of the earlier one, in one statement, so of two at once one stays. Only of undoings
 * there may be several: each gives its address back.
 */
const ISSUE_SQL = `
  INSERT INTO one_time_tokens AS earlier (id, user_id, purpose, created_at, expires_at, email)
  VALUES ($1, $2, $3, $4, $5, $7)
  ON CONFLICT (user_id, purpose) WHERE purpose <> 'undo_email' DO UPDATE
    SET id = excluded.id, created_at = excluded.created_at, expires_at = excluded.expires_at, email = excluded.email,
        used_at = NULL
    WHERE $6::timestamptz IS NULL OR earlier.created_at <= $6`;

/** An account is locked before its tokens, as by what ends them: or two transactions could wait for each other. */
const LOCK_OWNER_SQL = `
  SELECT 1 FROM users WHERE id = (SELECT user_id FROM one_time_tokens WHERE id = $1) FOR UPDATE`;

/** Tokens for mailed links: a row's id and its HMAC, in base64url. Whoever reads the table cannot make one. */
@Injectable()
export class OneTimeTokens {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
  ) {}

  /**
   * Makes a token that works once; the earlier one of the same user and purpose ends.
   * @returns the id of its row, by which {@link mail} gives the token to whoever writes the mail; in the quiet time of
   * an earlier one, an id that is nobody's, of which no mail comes.
   */
  async issue(
    userId: string,
    purpose: TokenPurpose,
    tx: EntityManager = this.db,
    email: string | null = null,
  ): Promise<string> {
    const id = uuidv7();
    const now = this.clock.now();
    const quietMs = QUIET_MS[purpose];
    const quietSince = quietMs === undefined ? null : new Date(now.getTime() - quietMs);
    await tx.query(ISSUE_SQL, [id, userId, purpose, now, this.expiry(purpose), quietSince, email]);
    return id;
  }

  /**
   * Gives a token by the id of its row, with its code and its owner, to be mailed. Its life begins now: however long
   * the mail server was down, nobody gets a link that is over.
   * @returns null when it was used or replaced.
   */
  async mail(id: string, purpose: TokenPurpose): Promise<MailedToken | null> {
    const isUnused = { id, purpose, usedAt: IsNull() };
    await this.db.update(OneTimeToken, isUnused, { expiresAt: this.expiry(purpose) });
    const row = await this.db.findOne(OneTimeToken, { where: isUnused, relations: { user: true } });
    if (!row?.user) return null;
    return {
      token: this.derivation.token('mail-token', id, purpose),
      code: this.codeOf(id),
      notMeToken: this.derivation.token('mail-token', id, NOT_ME),
      user: row.user,
      email: row.email,
    };
  }

  /** Ends what was mailed to a user; default: all but what undoes a change of his address. */
  async endAll(
    userId: string,
    tx: EntityManager,
    purposes: readonly TokenPurpose[] = ['verify_email', 'reset_password', 'change_email'],
  ): Promise<void> {
    await tx.delete(OneTimeToken, { userId, purpose: In([...purposes]) });
  }

  /** Ends what undoes the changes of a user's address since a moment. */
  async endUndoings(userId: string, since: Date, tx: EntityManager): Promise<void> {
    await tx.delete(OneTimeToken, { userId, purpose: 'undo_email', createdAt: MoreThanOrEqual(since) });
  }

  /** Deletes all tokens of a user. */
  async eraseAll(userId: string, tx: EntityManager): Promise<void> {
    await tx.delete(OneTimeToken, { userId });
  }

  /** Whose a token is that would work now; it is not used up. @returns null as {@link redeem}. */
  async ownerOf(token: string, purpose: TokenPurpose): Promise<string | null> {
    const id = this.derivation.idOf('mail-token', token, purpose);
    if (!id) return null;
    const isGood = { id, purpose, usedAt: IsNull(), expiresAt: MoreThan(this.clock.now()) };
    return (await this.db.findOneBy(OneTimeToken, isGood))?.userId ?? null;
  }

  /**
   * Uses a token up, in one statement: of parallel tries one wins. Locks its owner first.
   * @returns null when it is not a token, was used, has expired or is for something else.
   */
  async redeem(token: string, purpose: TokenPurpose, tx: EntityManager): Promise<Redeemed | null> {
    const id = this.derivation.idOf('mail-token', token, purpose);
    return id ? this.use(id, purpose, tx) : null;
  }

  /**
   * Uses a token up by the six digits that stand for it where it is typed. They can be guessed: count the tries.
   * @param email the address of its owner, in canonical form.
   * @returns null as {@link redeem}.
   */
  async redeemCode(
    email: string,
    code: string,
    purpose: TokenPurpose,
    tx: EntityManager,
  ): Promise<Redeemed | null> {
    const row = await tx.findOne(OneTimeToken, {
      select: { id: true },
      where: { purpose, usedAt: IsNull(), user: { email } },
    });
    // An address that waits for nothing costs the same.
    const isRight = equals(this.codeOf(row?.id ?? ''), code);
    return row && isRight ? this.use(row.id, purpose, tx) : null;
  }

  /**
   * Uses up the token with which the reader of a verification mail says that he did not sign up; it works also after
   * the verification itself.
   * @returns whose account it is, or null as {@link redeem}.
   */
  async redeemNotMe(token: string, tx: EntityManager): Promise<string | null> {
    const id = this.derivation.idOf('mail-token', token, NOT_ME);
    if (!id) return null;
    await tx.query(LOCK_OWNER_SQL, [id]);
    const result = await tx
      .createQueryBuilder()
      .delete()
      .from(OneTimeToken)
      .where({ id, purpose: 'verify_email', expiresAt: MoreThan(this.clock.now()) })
      .returning('user_id')
      .execute();
    return (result.raw as { user_id: string }[])[0]?.user_id ?? null;
  }

  private async use(id: string, purpose: TokenPurpose, tx: EntityManager): Promise<Redeemed | null> {
    await tx.query(LOCK_OWNER_SQL, [id]);
    const now = this.clock.now();
    const result = await tx
      .createQueryBuilder()
      .update(OneTimeToken)
      .set({ usedAt: now })
      .where({ id, purpose, usedAt: IsNull(), expiresAt: MoreThan(now) })
      .returning('user_id, email, created_at')
      .execute();
    const [row] = result.raw as { user_id: string; email: string | null; created_at: Date }[];
    return row ? { userId: row.user_id, email: row.email, createdAt: row.created_at } : null;
  }

  private codeOf(id: string): string {
    const number = this.derivation.mac('mail-code', id).readUIntBE(0, 6) % CODES;
    return String(number).padStart(String(CODES - 1).length, '0');
  }

  private expiry(purpose: TokenPurpose): Date {
    return new Date(this.clock.nowMs() + LIFE_MS[purpose]);
  }
}

function equals(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
