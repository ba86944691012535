import type { Provider } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_PIPE } from '@nestjs/core';
import { AuthGuard } from './auth/auth.guard';
import { InputPipe } from './common/input.pipe';
import { ProblemFilter } from './common/problem.filter';
import { RateLimitGuard } from './limits/rate-limit.guard';

/**
 * Where a request goes: through these, in this order, then to its controller's handler.
 *
 *     request
 *       -> 1 AuthGuard         401 403   who is calling: access token or API key -> Principal; @Public() opts out
 *       -> 2 RateLimitGuard    429       per key, per user, per address; more on anything guessable
 *       -> 3 InputPipe         400       the body, query and path as their DTOs say, nothing else
 *       -> 4 UsageInterceptor  402 503   metered routes, whose handlers ask it: the answer leaves after its ledger line is committed
 *       -> (@Idempotent)       409 422   on routes that say so, and metered ones: a repeated Idempotency-Key gets the first answer
 *       -> handler -> service
 *       -> ProblemFilter                 whatever was thrown -> application/problem+json
 */
export const requestPipeline: Provider[] = [
  { provide: APP_GUARD, useClass: AuthGuard },
  { provide: APP_GUARD, useClass: RateLimitGuard },
  { provide: APP_PIPE, useClass: InputPipe },
  { provide: APP_FILTER, useClass: ProblemFilter },
];
