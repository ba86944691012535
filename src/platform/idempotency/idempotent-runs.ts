import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { EntityManager } from 'typeorm';
import { ApiError } from '../../common/api-error';
import { CommonErrors } from '../../common/common.errors';
import { findFault } from '../../common/input.pipe';
import type { Principal, RequestState } from '../../common/principal';
import { toApiError } from '../../common/problem.filter';
import { Idempotency, type IdempotentRequest, type Refusal } from './idempotency';
import { IdempotencyErrors } from './idempotency.errors';
import { parseIdempotencyKey } from './idempotency-key-header';

/** Refusals that say "not now": the caller may do something about it and ask again with the same key. */
const NOT_NOW = [401, 402, 403, 409, 429];

/** Keeps the answer of a run in the transaction of its effect. */
export type KeepAnswer = (body: unknown, tx: EntityManager) => Promise<void>;

type KeyedRequest = FastifyRequest & RequestState & { user: Principal };

/** Whether a request has an Idempotency-Key. What the pipe will refuse outright is too odd to be remembered. */
export function hasIdempotencyKey({ headers, body }: FastifyRequest): boolean {
  return headers['idempotency-key'] !== undefined && !findFault(body);
}

/** Runs a request once for its Idempotency-Key, and gives a repeated one the answer of the first. */
@Injectable()
export class IdempotentRuns {
  constructor(private readonly idempotency: Idempotency) {}

  /**
   * @param reply to the request, which AuthGuard has let in.
   * @param claimMs longer than a run can take; a run that takes longer cannot keep its answer.
   * @param run does what is asked. It gets what keeps its answer, and calls it once.
   * @throws ApiError `invalid_idempotency_key`, `idempotent_request_running`, `idempotency_key_reused`; what `run` throws.
   */
  async once(
    reply: FastifyReply,
    claimMs: number,
    run: (keep: KeepAnswer) => Promise<unknown>,
  ): Promise<unknown> {
    const call = toCall(reply.request as KeyedRequest);
    const first = await this.idempotency.begin(call, claimMs);
    if (first) {
      void reply.header('idempotency-replayed', 'true');
      if ('refusal' in first) throw toError(first.refusal);
      return first.body;
    }
    try {
      return await run((body, tx) => this.idempotency.keep(call, { body }, tx));
    } catch (error) {
      // Should this fail too, the claim ends by itself.
      await this.end(call, toApiError(error)).catch(() => undefined);
      throw error;
    }
  }

  /** Keeps a refusal that would be the same again; anything else is as if it had never been asked. */
  private end(call: IdempotentRequest, error: ApiError): Promise<void> {
    const isFinal =
      error.status < 500 &&
      !NOT_NOW.includes(error.status) &&
      error.code !== CommonErrors.validationFailed.definition.code;
    if (!isFinal) return this.idempotency.release(call);
    const { status, code, title, message, errors } = error;
    const refusal = { status, code, title, message, errors, requestId: call.requestId };
    return this.idempotency.keep(call, { refusal });
  }
}

function toCall({ headers, user, id, method, url, body }: KeyedRequest): IdempotentRequest {
  const key = parseIdempotencyKey(String(headers['idempotency-key']));
  if (key === null) throw IdempotencyErrors.invalidKey();
  return { userId: user.userId, key, requestId: id, asked: `${method} ${url} ${JSON.stringify(body)}` };
}

function toError({ status, code, title, message, errors, requestId }: Refusal): ApiError {
  return new ApiError(status, code, title, message, { errors, requestId });
}
