import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { EntityManager } from 'typeorm';
import { ApiError } from '../../common/api-error';
import { CommonErrors } from '../../common/common.errors';
import type { Principal, RequestState } from '../../common/principal';
import { findFault } from '../../common/input.pipe';
import { toApiError } from '../../common/problem.filter';
import { Idempotency, type IdempotentRequest, type Refusal } from './idempotency';
import { IdempotencyErrors } from './idempotency.errors';
import { parseIdempotencyKey } from './idempotency-key-header';

/** Refusals that say "not now": the caller may do something about it and ask again with the same key. */
const NOT_NOW = [401, 402, 403, 409, 429];

/** What is left on a request for its handler. */
export interface IdempotentState {
  transaction?: EntityManager;
}

type IdempotentHttpRequest = FastifyRequest & RequestState & IdempotentState & { user: Principal };

/** For the routes that say `@Idempotent()`, and no others: a request whose Idempotency-Key was used before gets the answer of the first. */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  constructor(
    private readonly idempotency: Idempotency,
    private readonly db: EntityManager,
  ) {}

  /** @throws ApiError `invalid_idempotency_key`, `idempotent_request_running`, `idempotency_key_reused`. */
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const request = http.getRequest<IdempotentHttpRequest>();
    const header = request.headers['idempotency-key'];
    // What the pipe will refuse outright is too odd to be remembered.
    if (header === undefined || findFault(request.body)) return next.handle();
    return from(this.once(request, http.getResponse<FastifyReply>(), String(header), next));
  }

  private async once(
    request: IdempotentHttpRequest,
    response: FastifyReply,
    header: string,
    next: CallHandler,
  ): Promise<unknown> {
    const key = parseIdempotencyKey(header);
    if (key === null) throw IdempotencyErrors.invalidKey();
    const call: IdempotentRequest = {
      userId: request.user.userId,
      key,
      requestId: request.id,
      asked: `${request.method} ${request.url} ${JSON.stringify(request.body)}`,
    };
    const reply = await this.idempotency.begin(call);
    if (!reply) return this.run(call, request, next);
    void response.header('idempotency-replayed', 'true');
    if ('refusal' in reply) throw toError(reply.refusal);
    return reply.body;
  }

  private async run(
    call: IdempotentRequest,
    request: IdempotentHttpRequest,
    next: CallHandler,
  ): Promise<unknown> {
    try {
      return await this.db.transaction(async (tx) => {
        request.transaction = tx;
        const body: unknown = await lastValueFrom(next.handle());
        await this.idempotency.keep(call, { body }, tx);
        return body;
      });
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

function toError({ status, code, title, message, errors, requestId }: Refusal): ApiError {
  return new ApiError(status, code, title, message, { errors, requestId });
}
