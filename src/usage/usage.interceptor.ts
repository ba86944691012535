import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { lastValueFrom, type Observable, of } from 'rxjs';
import { Clock } from '../common/clock';
import { oncePerRoute } from '../common/once-per-route';
import { ENV, type Env } from '../config/env';
import { hasIdempotencyKey, IdempotentRuns, type KeepAnswer } from '../platform/idempotency/idempotent-runs';
import { Holds } from './holds';
import { Ledger } from './ledger';
import { beginCall, METERED_METADATA, type Metering } from './metered-call';
import { PriceBook } from './price-book';

/** A call that takes longer than its provider may has lost its way; what it holds is let go of. */
const HOLD_MARGIN_SECONDS = 60;

/** Step 4 of the pipeline: the answer of a metered route leaves after its line is committed; a failed call leaves none. */
@Injectable()
export class UsageInterceptor implements NestInterceptor {
  private readonly metering: Metering;
  private readonly operationOf = oncePerRoute((context) =>
    this.reflector.get<string | undefined>(METERED_METADATA, context.getHandler()),
  );

  constructor(
    private readonly reflector: Reflector,
    private readonly clock: Clock,
    private readonly runs: IdempotentRuns,
    ledger: Ledger,
    holds: Holds,
    prices: PriceBook,
    @Inject(ENV) env: Env,
  ) {
    this.metering = {
      ledger,
      holds,
      prices,
      holdSeconds: env.PROVIDER_TIMEOUT_SECONDS + HOLD_MARGIN_SECONDS,
    };
  }

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const operation = this.operationOf(context);
    if (operation === undefined) return next.handle();

    const [request, reply] = context.getArgs<[FastifyRequest, FastifyReply]>();
    const call = beginCall(operation, context, this.metering, this.clock.now());
    const run = async (keep?: KeepAnswer): Promise<unknown> => {
      try {
        const answer: unknown = await lastValueFrom(next.handle());
        if (!call.endsLater) await call.settle(reply.statusCode, keep && ((tx) => keep(answer, tx)));
        return answer;
      } catch (error) {
        await call.release(error);
        throw error;
      }
    };
    if (!hasIdempotencyKey(request)) return of(await run());
    return of(await this.runs.once(context, this.metering.holdSeconds * 1_000, run));
  }
}
