import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Clock } from '../common/clock';
import { ENV, type Env } from '../config/env';
import { hasIdempotencyKey, IdempotentRuns, type KeepAnswer } from '../platform/idempotency/idempotent-runs';
import { Holds } from './holds';
import { Leases } from './leases';
import { Ledger } from './ledger';
import { MeteredCall, type MeteredRequest, type Metering } from './metered-call';
import { PriceBook } from './price-book';

/** A call that takes longer than its provider may has lost its way; what it holds is let go of. */
const HOLD_MARGIN_SECONDS = 60;

/**
 * Step 4 of the pipeline: the answer of a metered route leaves after its line is committed; a failed call leaves none.
 * The handler asks it: Nest's chain of interceptors, whose observables are made anew for every request, took a fifth of a
 * metered call's CPU time.
 */
@Injectable()
export class UsageInterceptor {
  private readonly metering: Metering;

  constructor(
    private readonly clock: Clock,
    private readonly runs: IdempotentRuns,
    ledger: Ledger,
    holds: Holds,
    leases: Leases,
    prices: PriceBook,
    @Inject(ENV) env: Env,
  ) {
    this.metering = {
      ledger,
      holds,
      leases,
      prices,
      holdSeconds: env.PROVIDER_TIMEOUT_SECONDS + HOLD_MARGIN_SECONDS,
    };
  }

  /**
   * Runs a metered call, once for its Idempotency-Key, and records its usage and cost.
   * @param operation its name in the ledger and in the price book.
   * @param handler serves it, and states what it consumed with {@link MeteredCall.charge}.
   * @returns what the handler answers with; of a repeated Idempotency-Key, what it answered first.
   * @throws ApiError `metering_busy`, and those of Idempotency-Keys; what the handler throws.
   */
  intercept<T>(
    operation: string,
    reply: FastifyReply,
    handler: (call: MeteredCall) => Promise<T>,
  ): Promise<T> {
    const request = reply.request as MeteredRequest;
    const call = new MeteredCall(operation, request, this.metering, this.clock.now());
    const run = async (keep?: KeepAnswer): Promise<T> => {
      try {
        const answer = await handler(call);
        if (!call.endsLater) await call.settle(reply.statusCode, keep && ((tx) => keep(answer, tx)));
        return answer;
      } catch (error) {
        await call.release(error);
        throw error;
      }
    };
    if (!hasIdempotencyKey(request)) return run();
    return this.runs.once(reply, this.metering.holdSeconds * 1_000, run) as Promise<T>;
  }
}
