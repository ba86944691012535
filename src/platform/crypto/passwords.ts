import { randomBytes, randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import timers from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import argon2, { type HashOptions } from 'argon2';
import * as bcrypt from 'bcrypt';
import pLimit from 'p-limit';
import { CommonErrors } from '../../common/common.errors';
import { ENV, type Env } from '../../config/env';
import { lowerHashingPriority } from './hashing-threads';

/** Hashes run on libuv's four threads, as name look-ups do: one of them stays free. */
const THREADS_MAX = 3;
/** Two to three seconds of work for threads that have their cores: whoever comes later is told to come back. */
const WAITING_MAX_PER_THREAD = 50;
const BCRYPT_BYTES_MAX = 72;
/** So many hashes tell how long one takes now. */
const DURATIONS_KEPT = 16;
/** Never changed: what is looked up by its digest must have the same one for ever. */
const DIGEST_OPTIONS = {
  type: argon2.argon2id,
  memoryCost: 19_456,
  timeCost: 2,
  parallelism: 1,
  raw: true,
} as const;

/** Password hashing with argon2id, bounded: never more hashes at once than cores or threads, a short queue, and whatever answers goes first. */
@Injectable()
export class Passwords {
  private readonly atOnceMax = Math.min(availableParallelism(), THREADS_MAX);
  private readonly limit = pLimit(this.atOnceMax);
  private readonly options: HashOptions;
  private readonly decoy: Promise<string>;
  /** Of the last hashes with today's settings, in milliseconds. */
  private readonly durations: number[] = [];

  constructor(@Inject(ENV) env: Pick<Env, 'ARGON2_MEMORY_KIB' | 'ARGON2_TIME_COST'>) {
    this.options = {
      type: argon2.argon2id,
      memoryCost: env.ARGON2_MEMORY_KIB,
      timeCost: env.ARGON2_TIME_COST,
      parallelism: 1,
    };
    // The pool's threads are there once the first hash is.
    this.decoy = this.hash(randomBytes(16).toString('hex')).finally(lowerHashingPriority);
  }

  /** How many wait for their turn to be hashed. */
  get waiting(): number {
    return this.limit.pendingCount;
  }

  /**
   * Hashes a password, in Unicode form NFKC (NIST SP 800-63B, 3.1.1.2).
   * @throws ApiError `service_unavailable` when the queue is full.
   */
  hash(password: string): Promise<string> {
    return this.bounded(() => this.timed(() => argon2.hash(password.normalize('NFKC'), this.options)));
  }

  /** A hash of a password that nobody knows. */
  unusableHash(): Promise<string> {
    return this.decoy;
  }

  /**
   * Whether the password belongs to the hash, argon2id or legacy bcrypt. Without a hash (no such user) it takes
   * the same time and answers false; so does a wrong password for a hash that takes less than the settings ask for.
   * @throws ApiError `service_unavailable` when the queue is full.
   */
  async verify(hash: string | undefined, password: string): Promise<boolean> {
    // bcrypt ignores what follows its 72nd byte: a longer password would open the account of its beginning.
    const isTooLong = hash?.startsWith('$2') === true && Buffer.byteLength(password) > BCRYPT_BYTES_MAX;
    const candidate = hash === undefined || isTooLong ? await this.decoy : hash;
    const check = (): Promise<boolean> => matchesHash(candidate, password);
    const matches = await this.bounded(() =>
      this.needsRehash(candidate) ? this.wrongNoSooner(check) : this.timed(check),
    );
    return matches && candidate === hash;
  }

  /** Whether a hash that just verified should be replaced: legacy bcrypt, or made with other settings than now. */
  needsRehash(hash: string): boolean {
    return !hash.startsWith('$argon2id$') || argon2.needsRehash(hash, this.options);
  }

  /**
   * The argon2id digest of a random code that is too short for a fast hash, with its owner's salt: it is looked up by it.
   * @throws ApiError `service_unavailable` when the queue is full.
   */
  digest(code: string, salt: Buffer): Promise<Buffer> {
    return this.bounded(() => argon2.hash(code, { ...DIGEST_OPTIONS, salt }));
  }

  private async timed<T>(work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    const result = await work();
    this.durations.unshift(performance.now() - startedMs);
    this.durations.splice(DURATIONS_KEPT);
    return result;
  }

  /**
   * Answers that a password is wrong when a check with today's settings would: after the time that one of the last ones
   * took. It cannot be worked off instead, for half the memory takes less than half the time where it fits a cache.
   */
  private async wrongNoSooner(check: () => Promise<boolean>): Promise<boolean> {
    const startedMs = performance.now();
    const matches = await check();
    // The first of the durations is the decoy's.
    await this.decoy;
    const durationMs = this.durations[randomInt(this.durations.length)] ?? 0;
    const missingMs = Math.round(startedMs + durationMs - performance.now());
    if (!matches && missingMs > 0) await timers.setTimeout(missingMs);
    return matches;
  }

  private async bounded<T>(work: () => Promise<T>): Promise<T> {
    if (this.limit.pendingCount >= WAITING_MAX_PER_THREAD * this.atOnceMax)
      throw CommonErrors.unavailable.with({ retryAfterSeconds: 2 });
    return this.limit(work);
  }
}

async function matchesHash(hash: string, password: string): Promise<boolean> {
  if (hash.startsWith('$argon2')) return argon2.verify(hash, password.normalize('NFKC'));
  // The legacy service hashed the password as it was typed.
  return bcrypt.compare(password, hash);
}
