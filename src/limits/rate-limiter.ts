import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Clock } from '../common/clock';
import type { Claim } from './policies';
import { SlidingWindow } from './sliding-window';

const SWEEP_INTERVAL_MS = 30_000;

/** Where a claim stands after a decision. */
export interface ClaimState {
  readonly claim: Claim;
  readonly remaining: number;
  /** Until a taken place frees, in milliseconds. */
  readonly resetMs: number;
}

export interface Decision {
  /** The claim that refuses, the one that frees last; undefined: all places are taken now. */
  readonly refused: (Claim & { readonly waitMs: number }) | undefined;
  readonly states: readonly ClaimState[];
}

/** The limits of one process, in memory: all claims of a request are taken together or none is. */
@Injectable()
export class RateLimiter implements OnModuleDestroy {
  private readonly windows = new Map<string, SlidingWindow>();
  private readonly sweeper = setInterval(() => {
    this.sweep();
  }, SWEEP_INTERVAL_MS).unref();

  constructor(private readonly clock: Clock) {}

  onModuleDestroy(): void {
    clearInterval(this.sweeper);
  }

  /** Takes one place of every claim, or none of any. */
  take(claims: readonly Claim[]): Decision {
    const nowMs = this.clock.nowMs();
    const held = claims.map((claim) => ({ claim, window: this.windowOf(claim) }));
    let refused: Decision['refused'];
    for (const { claim, window } of held) {
      const waitMs = window.waitMs(claim.limit, nowMs);
      if (waitMs > (refused?.waitMs ?? 0)) refused = { ...claim, waitMs };
    }
    if (!refused) for (const { claim, window } of held) window.take(claim.limit, nowMs);
    const states = held.map(({ claim, window }) => ({
      claim,
      remaining: window.remaining(claim.limit, nowMs),
      resetMs: window.resetMs(nowMs),
    }));
    return { refused, states };
  }

  /** How long a claim would have to wait, in milliseconds; takes nothing. */
  waitMs(claim: Claim): number {
    return this.windowOf(claim).waitMs(claim.limit, this.clock.nowMs());
  }

  private windowOf({ policy, key, windowMs }: Claim): SlidingWindow {
    const name = `${policy}:${key}`;
    let window = this.windows.get(name);
    if (!window) this.windows.set(name, (window = new SlidingWindow(windowMs)));
    return window;
  }

  private sweep(): void {
    const nowMs = this.clock.nowMs();
    for (const [name, window] of this.windows) if (window.isIdle(nowMs)) this.windows.delete(name);
  }
}
