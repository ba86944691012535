import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { Derivation } from '../platform/crypto/derivation';

/** Guesses at one account, over all processes, sessions and factors, before it is locked. */
export const ATTEMPTS_MAX = 20;
/** So long after its last guess an account is free again. */
export const LOCK_MS = 15 * 60 * 1_000;

/** One row per account under attack, one statement per guess: whoever gets no row back may not guess. */
const TAKE_SQL = `
  INSERT INTO attempt_counts (key, taken, last_taken_at) VALUES ($1, 1, $2)
  ON CONFLICT (key) DO UPDATE
    SET taken = CASE WHEN attempt_counts.last_taken_at <= $3 THEN 1 ELSE attempt_counts.taken + 1 END,
        last_taken_at = excluded.last_taken_at
    WHERE attempt_counts.taken < $4 OR attempt_counts.last_taken_at <= $3
  RETURNING taken`;

/** What is guessed at: an account by its address, whether it exists or not, or by a device that knew its password before. */
export interface AttemptTarget {
  readonly email: string;
  /** A device has a counter of its own, so that an attacker, who has none, cannot lock the owner out. */
  readonly deviceId?: string;
}

/** Counts guesses at accounts. An attempt is taken before anything is compared, and given back when the guess was right. */
@Injectable()
export class Attempts {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
  ) {}

  /** Takes an attempt. @returns whether there was one left; if not, answer as to a wrong guess. */
  async take(target: AttemptTarget): Promise<boolean> {
    const now = this.clock.now();
    const lockedSince = new Date(now.getTime() - LOCK_MS);
    const rows = await this.db.query<unknown[]>(TAKE_SQL, [
      this.keyOf(target),
      now,
      lockedSince,
      ATTEMPTS_MAX,
    ]);
    return rows.length === 1;
  }

  /** Gives an attempt back after a right guess. */
  async giveBack(target: AttemptTarget, tx: EntityManager = this.db): Promise<void> {
    await tx.query('UPDATE attempt_counts SET taken = greatest(taken - 1, 0) WHERE key = $1', [
      this.keyOf(target),
    ]);
  }

  /** Frees an account whose owner has proven himself otherwise, by a mailed token. */
  async clear(target: AttemptTarget, tx: EntityManager = this.db): Promise<void> {
    await tx.query('DELETE FROM attempt_counts WHERE key = $1', [this.keyOf(target)]);
  }

  private keyOf({ email, deviceId }: AttemptTarget): string {
    return this.derivation
      .mac('attempts', deviceId ? `device:${deviceId}:${email}` : `email:${email}`)
      .toString('base64url');
  }
}
