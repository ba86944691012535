import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply } from 'fastify';
import { mergeMap, type Observable } from 'rxjs';
import { Clock } from '../common/clock';
import { Ledger } from './ledger';
import { beginCall, METERED_METADATA } from './metered-call';
import { PriceBook } from './price-book';

/** Step 4 of the pipeline: the answer of a metered route leaves after its line is committed; a failed call leaves none. */
@Injectable()
export class UsageInterceptor implements NestInterceptor {
  constructor(
    private readonly reflector: Reflector,
    private readonly ledger: Ledger,
    private readonly prices: PriceBook,
    private readonly clock: Clock,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const operation = this.reflector.get<string | undefined>(METERED_METADATA, context.getHandler());
    if (operation === undefined) return next.handle();

    const call = beginCall(operation, context, this.prices, this.clock.now());
    const reply = context.switchToHttp().getResponse<FastifyReply>();
    return next.handle().pipe(
      mergeMap(async (answer: unknown) => {
        await this.ledger.append(call.toLine(reply.statusCode));
        return answer;
      }),
    );
  }
}
