import { Injectable } from '@nestjs/common';
import { EntityManager, IsNull } from 'typeorm';
import type { ApiError } from '../../common/api-error';
import { Clock } from '../../common/clock';
import { Derivation } from '../crypto/derivation';
import { seal, unseal } from '../crypto/sealing';
import { isLate } from '../database/statement-limits';
import { IdempotencyErrors } from './idempotency.errors';
import { IdempotencyKey } from './idempotency-key.entity';

const REPLY_KEPT_MS = 24 * 60 * 60 * 1_000;
const RETRY_AFTER_SECONDS = 1;

/** Free is a key that nobody has used, or whose claim or answer is over; to a request also the one that it has claimed itself. */
const CLAIM_SQL = `
  INSERT INTO idempotency_keys (user_id, key_hash, fingerprint, request_id, reply, expires_at)
  VALUES ($1, $2, $3, $4, NULL, $5)
  ON CONFLICT (user_id, key_hash) DO UPDATE
    SET fingerprint = excluded.fingerprint, request_id = excluded.request_id, reply = NULL,
        expires_at = excluded.expires_at
    WHERE idempotency_keys.expires_at <= $6
      OR (idempotency_keys.request_id = excluded.request_id AND idempotency_keys.reply IS NULL)
  RETURNING request_id`;

/** A request with an Idempotency-Key. */
export interface IdempotentRequest {
  readonly userId: string;
  /** The value of the header. */
  readonly key: string;
  readonly requestId: string;
  /** What is asked, as a text: method, path, query and body. */
  readonly asked: string;
}

/** What a request came to: the body of its answer, or the error that refused it. */
export type Reply = { readonly body: unknown } | { readonly refusal: Refusal };

/** The error of a refusal, and the request that met it first. */
export type Refusal = Pick<ApiError, 'status' | 'code' | 'title' | 'message' | 'errors' | 'requestId'>;

/**
 * Remembers answers by Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07). A request first claims its key,
 * by one committed statement, so of twins one runs. Then it keeps its answer in the transaction of its effect: both are
 * committed or neither, wherever the process dies. A claim that was taken over after its time cannot keep an answer any
 * more, and so cannot commit an effect either.
 */
@Injectable()
export class Idempotency {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
  ) {}

  /**
   * Claims the key of a request that is about to run.
   * @param claimMs so long after its beginning a request that never ended, for its process died, no longer holds its key.
   * @returns null when it may run; the answer of the first request when that has run.
   * @throws ApiError `idempotent_request_running`, `idempotency_key_reused`.
   */
  async begin(request: IdempotentRequest, claimMs: number): Promise<Reply | null> {
    const now = this.clock.now();
    const { userId, keyHash } = this.rowOf(request);
    const fingerprint = this.derivation.mac('idempotency-fingerprint', request.asked);
    const expiresAt = new Date(now.getTime() + claimMs);
    const claim = [userId, keyHash, fingerprint, request.requestId, expiresAt, now];
    try {
      if (await this.claim(claim)) return null;
    } catch (error) {
      // The claim may be there all the same, and the request does not run. Nobody waits for this.
      this.release(request).catch(() => undefined);
      throw error;
    }

    const first = await this.db.findOneBy(IdempotencyKey, { userId, keyHash });
    if (first && !first.fingerprint.equals(fingerprint)) throw IdempotencyErrors.keyReused();
    if (!first?.reply) throw IdempotencyErrors.stillRunning.with({ retryAfterSeconds: RETRY_AFTER_SECONDS });
    return JSON.parse(unseal(this.replyKey(request), first.reply, keyHash)) as Reply;
  }

  /**
   * Keeps the answer for 24 hours.
   * @param tx the transaction of the effect.
   * @throws ApiError `idempotent_request_running` when another request has taken the claim over: the effect must not be committed.
   */
  async keep(request: IdempotentRequest, reply: Reply, tx: EntityManager = this.db): Promise<void> {
    const row = this.rowOf(request);
    const sealed = seal(this.replyKey(request), JSON.stringify(reply), row.keyHash);
    const { affected } = await tx.update(
      IdempotencyKey,
      { ...row, requestId: request.requestId },
      { reply: sealed, expiresAt: new Date(this.clock.nowMs() + REPLY_KEPT_MS) },
    );
    if (affected !== 1) throw IdempotencyErrors.stillRunning.with({ retryAfterSeconds: RETRY_AFTER_SECONDS });
  }

  /** Gives a key back whose request had no effect and no answer to keep: it may be tried again. */
  async release(request: IdempotentRequest): Promise<void> {
    await this.db.delete(IdempotencyKey, {
      ...this.rowOf(request),
      requestId: request.requestId,
      // An answer whose commit seemed to fail may be there all the same.
      reply: IsNull(),
    });
  }

  /** Forgets what a user asked and was answered. */
  async eraseAll(userId: string, tx: EntityManager): Promise<void> {
    await tx.delete(IdempotencyKey, { userId });
  }

  /** A broken connection leaves open whether the claim is there; whoever has it gets it again, so asking again is safe. */
  private async claim(values: readonly unknown[]): Promise<boolean> {
    const send = async (): Promise<boolean> =>
      (await this.db.query<unknown[]>(CLAIM_SQL, [...values])).length === 1;
    return send().catch((error: unknown) => {
      if (isLate(error)) throw error;
      return send();
    });
  }

  private rowOf({ userId, key }: IdempotentRequest): Pick<IdempotencyKey, 'userId' | 'keyHash'> {
    return { userId, keyHash: this.derivation.mac('idempotency-key', `${userId}:${key}`) };
  }

  private replyKey({ userId, key }: IdempotentRequest): Buffer {
    return this.derivation.mac('idempotency-reply', `${userId}:${key}`);
  }
}
