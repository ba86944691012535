import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { EntityManager } from 'typeorm';
import { hasIdempotencyKey, IdempotentRuns } from './idempotent-runs';

/** Ordinary requests are answered long before. */
const CLAIM_MS = 15_000;

/** What is left on a request for its handler. */
export interface IdempotentState {
  transaction?: EntityManager;
}

/** For the routes that say `@Idempotent()`, and no others: the handler runs in the transaction that its answer is kept in. */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  constructor(
    private readonly runs: IdempotentRuns,
    private readonly db: EntityManager,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const [request, reply] = context.getArgs<[FastifyRequest & IdempotentState, FastifyReply]>();
    if (!hasIdempotencyKey(request)) return next.handle();
    const answer = this.runs.once(reply, CLAIM_MS, (keep) =>
      this.db.transaction(async (tx) => {
        request.transaction = tx;
        const body: unknown = await lastValueFrom(next.handle());
        await keep(body, tx);
        return body;
      }),
    );
    return from(answer);
  }
}
