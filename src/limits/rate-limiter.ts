import { randomUUID } from 'node:crypto';
import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { Logger } from 'pino';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { HealthService } from '../platform/health/health.service';
import { Metrics } from '../platform/observability/metrics';
import { RedisService } from '../platform/redis/redis.module';
import type { Decision } from './decision';
import { MemoryLimiter } from './memory-limiter';
import type { Claim } from './policies';
import { Processes } from './processes';
import { RedisWindows } from './redis-windows';
import { SharedLimiter } from './shared-limiter';

const SWEEP_INTERVAL_MS = 30_000;

/** Decides about the claims of requests: in the memory of this process, or in Redis when there is one. */
@Injectable()
export class RateLimiter implements OnModuleInit, OnModuleDestroy {
  private readonly memory = new MemoryLimiter();
  private readonly shared: SharedLimiter | undefined;
  private readonly sweeper = setInterval(() => {
    this.memory.sweep(this.clock.nowMs());
    this.shared?.sweep();
  }, SWEEP_INTERVAL_MS).unref();

  constructor(
    private readonly clock: Clock,
    private readonly redis: RedisService,
    private readonly health: HealthService,
    private readonly metrics: Metrics,
    @Inject(LOG) log: Logger,
  ) {
    if (redis.connection)
      this.shared = new SharedLimiter(
        new RedisWindows(redis.connection),
        new Processes(randomUUID()),
        clock,
        log,
        metrics.counter('redis_failures_total', 'Times this process had to go on without Redis.'),
      );
  }

  async onModuleInit(): Promise<void> {
    const { shared } = this;
    if (!shared) return;
    this.health.watch('redis', () => (shared.isShared ? 'up' : 'degraded'));
    this.metrics.gauge(
      'rate_limits_shared',
      '1 while Redis decides, 0 while this process keeps to its share.',
      () => Number(shared.isShared),
    );
    await this.redis.connection?.firstTry();
    await shared.start();
  }

  async onModuleDestroy(): Promise<void> {
    clearInterval(this.sweeper);
    await this.shared?.stop();
  }

  /** Whether others take places too, of which this process is told only when it asks. */
  get isShared(): boolean {
    return this.shared !== undefined;
  }

  /** Takes one place of every claim, or none of any. */
  take(claims: readonly Claim[]): Promise<Decision> {
    if (this.shared && claims.length > 0) return this.shared.take(claims);
    return Promise.resolve(this.memory.take(claims, this.clock.nowMs()));
  }

  /** What {@link take} would decide; takes nothing. */
  look(claims: readonly Claim[]): Promise<Decision> {
    return this.take(claims.map((claim) => ({ ...claim, onlyLook: true })));
  }

  /** The same as far as it is known without waiting for anyone: who is refused here is refused anyway. */
  lookHere(claims: readonly Claim[]): Decision {
    const looks = claims.map((claim): Claim => ({ ...claim, onlyLook: true }));
    return this.shared ? this.shared.lookHere(looks) : this.memory.take(looks, this.clock.nowMs());
  }
}
