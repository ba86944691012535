import { Global, Module } from '@nestjs/common';
import { ThrottlerModule } from '@nestjs/throttler';
import { TypeOrmModule } from '@nestjs/typeorm';
import { JobsModule } from '../platform/jobs/jobs.module';
import { HealthModule } from '../platform/health/health.module';
import { UsersModule } from '../users/users.module';
import { AttemptCount } from './attempt-count.entity';
import { Attempts } from './attempts';
import { LimitsController } from './limits.controller';
import { policies } from './policies';
import { RateLimiter } from './rate-limiter';

@Global()
@Module({
  imports: [
    HealthModule,
    JobsModule,
    UsersModule,
    TypeOrmModule.forFeature([AttemptCount]),
    ThrottlerModule.forRoot([
      { limit: policies.anonymous.limit, ttl: policies.anonymous.windowSeconds * 1_000 },
    ]),
  ],
  controllers: [LimitsController],
  providers: [RateLimiter, Attempts],
  exports: [RateLimiter, Attempts, ThrottlerModule],
})
export class LimitsModule {}
