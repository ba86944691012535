import { Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Idempotency } from './idempotency';
import { IdempotencyKey } from './idempotency-key.entity';
import { IdempotentRuns } from './idempotent-runs';

@Global()
@Module({
  imports: [TypeOrmModule.forFeature([IdempotencyKey])],
  providers: [Idempotency, IdempotentRuns],
  exports: [Idempotency, IdempotentRuns],
})
export class IdempotencyModule {}
