import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Clock } from '../common/clock';
import type { Decision } from './decision';
import { MemoryLimiter } from './memory-limiter';
import type { Claim } from './policies';

const SWEEP_INTERVAL_MS = 30_000;

/** Decides about the claims of requests. */
@Injectable()
export class RateLimiter implements OnModuleDestroy {
  private readonly memory = new MemoryLimiter();
  private readonly sweeper = setInterval(() => {
    this.memory.sweep(this.clock.nowMs());
  }, SWEEP_INTERVAL_MS).unref();

  constructor(private readonly clock: Clock) {}

  onModuleDestroy(): void {
    clearInterval(this.sweeper);
  }

  /** Takes one place of every claim, or none of any. */
  take(claims: readonly Claim[]): Promise<Decision> {
    return Promise.resolve(this.memory.take(claims, this.clock.nowMs()));
  }

  /** What {@link take} would decide; takes nothing. */
  look(claims: readonly Claim[]): Promise<Decision> {
    return this.take(claims.map((claim) => ({ ...claim, onlyLook: true })));
  }

  /** The same as far as it is known without waiting for anyone: who is refused here is refused anyway. */
  lookHere(claims: readonly Claim[]): Decision {
    return this.memory.take(
      claims.map((claim) => ({ ...claim, onlyLook: true })),
      this.clock.nowMs(),
    );
  }
}
