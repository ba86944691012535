import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import type { RequestOrigin } from '../common/origin';
import { Derivation } from '../platform/crypto/derivation';
import { ALWAYS, changeAtOnce, type Sql, sql } from '../platform/database/one-statement';
import { queryPrepared } from '../platform/database/prepared-statements';
import { Jobs } from '../platform/jobs/jobs';
import { UsersService } from '../users/users.service';

/** Guesses at one account, over all processes, sessions and factors, before it is locked. */
export const ATTEMPTS_MAX = 20;
/** So long after its last guess an account is free again. */
export const LOCK_MS = 15 * 60 * 1_000;

/** Asked for when a target runs out of attempts, also for an address that nobody has, or the answer's time would tell. */
export const LOCK_JOB = 'attempts_used_up';
/** The last attempt may yet be given back: by then its password was hashed. */
const LOCK_JOB_DELAY_SECONDS = 5;

/** What a {@link LOCK_JOB} is about. A type and not an interface: only a type is taken for a record. */
export type LockJob = {
  /** Of the count. */
  readonly key: string;
  /** Whose account it is, or nobody's id. */
  readonly userId: string;
  /** Of the last guess. */
  readonly origin: RequestOrigin;
};

/** One row per account under attack, one statement per guess: whoever gets no row back may not guess. */
const TAKE_SQL = `
  INSERT INTO attempt_counts (key, taken, last_taken_at) VALUES ($1, 1, $2)
  ON CONFLICT (key) DO UPDATE
    SET taken = CASE WHEN attempt_counts.last_taken_at <= $3 THEN 1 ELSE attempt_counts.taken + 1 END,
        last_taken_at = excluded.last_taken_at,
        is_told = attempt_counts.is_told AND attempt_counts.last_taken_at > $3
    WHERE attempt_counts.taken < $4 OR attempt_counts.last_taken_at <= $3
  RETURNING taken`;

/** What is guessed at: an account by its address, whether it exists or not, or by a device that knew its password before. */
export interface AttemptTarget {
  readonly email: string;
  /** A device has a counter of its own, so that an attacker, who has none, cannot lock the owner out. */
  readonly deviceId?: string;
  /**
   * Guesses at the second factor by somebody who has shown the password. They have a counter besides, which a reset of the
   * password leaves alone: it proves nothing about the second factor.
   */
  readonly isSecondFactor?: true;
}

/** Counts guesses at accounts. An attempt is taken before anything is compared, and given back when the guess was right. */
@Injectable()
export class Attempts {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
    private readonly users: UsersService,
    private readonly jobs: Jobs,
  ) {}

  /** Takes an attempt. @returns whether there was one left; if not, answer as to a wrong guess. */
  async take(target: AttemptTarget, origin: RequestOrigin): Promise<boolean> {
    const now = this.clock.now();
    const lockedSince = new Date(now.getTime() - LOCK_MS);
    const key = this.keyOf(target);
    const parameters = [key, now, lockedSince, ATTEMPTS_MAX];
    const [row] = await queryPrepared<{ taken: number }>(this.db, TAKE_SQL, parameters);
    // Of guesses at the second factor the owner hears by the counter that they share with passwords.
    if (row?.taken === ATTEMPTS_MAX && !target.isSecondFactor)
      await this.announceLock(key, target.email, origin);
    return row !== undefined;
  }

  /** @returns whether a count is used up, for the one who asks first: he tells the owner of this lock. */
  async claimNotice(key: string, tx: EntityManager): Promise<boolean> {
    const [told] = await tx.query<[unknown[], number]>(
      'UPDATE attempt_counts SET is_told = true WHERE key = $1 AND taken >= $2 AND NOT is_told RETURNING key',
      [key, ATTEMPTS_MAX],
    );
    return told.length === 1;
  }

  /** Gives an attempt back after a right guess. */
  async giveBack(target: AttemptTarget, tx: EntityManager = this.db): Promise<void> {
    await changeAtOnce(tx, ALWAYS, [this.givingBack(target)]);
  }

  /** The part of a statement (`changeAtOnce`) that gives an attempt back. */
  givingBack(target: AttemptTarget): Sql {
    return sql`
      UPDATE attempt_counts SET taken = greatest(taken - 1, 0)
      WHERE key = ${this.keyOf(target)} AND EXISTS (SELECT FROM condition)`;
  }

  /** Frees an account whose owner has proven himself otherwise, by a mailed token. */
  async clear(target: AttemptTarget, tx: EntityManager = this.db): Promise<void> {
    await tx.query('DELETE FROM attempt_counts WHERE key = $1', [this.keyOf(target)]);
  }

  private async announceLock(key: string, email: string, origin: RequestOrigin): Promise<void> {
    const userId = (await this.users.idOf(email)) ?? uuidv7();
    const job: LockJob = { key, userId, origin };
    await this.jobs.send(LOCK_JOB, job, this.db, LOCK_JOB_DELAY_SECONDS);
  }

  private keyOf({ email, deviceId, isSecondFactor }: AttemptTarget): string {
    const counter = isSecondFactor ? 'second-factor:' : '';
    const whose = deviceId ? `device:${deviceId}:${email}` : `email:${email}`;
    return this.derivation.mac('attempts', counter + whose).toString('base64url');
  }
}
