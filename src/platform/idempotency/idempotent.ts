import {
  applyDecorators,
  createParamDecorator,
  type ExecutionContext,
  UseInterceptors,
} from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { EntityManager } from 'typeorm';
import { ApiProblems } from '../../common/problem-docs';
import { IdempotencyErrors } from './idempotency.errors';
import { IdempotencyInterceptor, type IdempotentState } from './idempotency.interceptor';

/**
 * A route that answers a repeated `Idempotency-Key` from the first run. Its handler does all it does in the
 * {@link CurrentTransaction}, in which its answer is kept.
 */
export const Idempotent = (): MethodDecorator =>
  applyDecorators(UseInterceptors(IdempotencyInterceptor), TakesIdempotencyKey());

/** Documents the header and its errors. */
export const TakesIdempotencyKey = (): MethodDecorator =>
  applyDecorators(
    ApiHeader({
      name: 'Idempotency-Key',
      required: false,
      description:
        'A text of your own that names this request, in double quotes. When you send the same request with the same key ' +
        'again, within 24 hours, it is not run again: you get the first answer, with `Idempotency-Replayed: true`.',
      schema: { type: 'string', minLength: 1, example: '"8e03978e-40d5-43dd-bc93-6894a57f9324"' },
    }),
    ApiProblems(...Object.values(IdempotencyErrors)),
  );

/** Injects the transaction that the answer is kept in; undefined when the request has no Idempotency-Key. */
export const CurrentTransaction = createParamDecorator(
  (_data: unknown, context: ExecutionContext): EntityManager | undefined =>
    context.switchToHttp().getRequest<IdempotentState>().transaction,
);
