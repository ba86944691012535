import { Global, Module } from '@nestjs/common';
import { ThrottlerModule } from '@nestjs/throttler';
import { policies } from './policies';
import { RateLimiter } from './rate-limiter';

@Global()
@Module({
  imports: [
    ThrottlerModule.forRoot([
      { limit: policies.anonymous.limit, ttl: policies.anonymous.windowSeconds * 1_000 },
    ]),
  ],
  providers: [RateLimiter],
  exports: [RateLimiter, ThrottlerModule],
})
export class LimitsModule {}
