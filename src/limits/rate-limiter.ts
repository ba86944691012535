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
    let refused: Decision['refused'];
    for (const claim of claims) {
      const waitMs = this.waitMs(claim);
      if (waitMs > (refused?.waitMs ?? 0)) refused = { ...claim, waitMs };
    }
    if (!refused) for (const claim of claims) this.windowFor(claim).take(claim.limit, nowMs);
    const states = claims.map((claim) => {
      const window = this.windows.get(nameOf(claim));
      return {
        claim,
        remaining: window?.remaining(claim.limit, nowMs) ?? claim.limit,
        resetMs: window?.resetMs(nowMs) ?? 0,
      };
    });
    return { refused, states };
  }

  /** How long a claim would have to wait, in milliseconds; takes nothing and remembers nothing. */
  waitMs(claim: Claim): number {
    return (
      this.windows.get(nameOf(claim))?.waitMs(claim.limit, this.clock.nowMs()) ??
      (claim.limit > 0 ? 0 : claim.windowMs)
    );
  }

  private windowFor(claim: Claim): SlidingWindow {
    const name = nameOf(claim);
    let window = this.windows.get(name);
    if (!window) this.windows.set(name, (window = new SlidingWindow(claim.windowMs)));
    return window;
  }

  private sweep(): void {
    const nowMs = this.clock.nowMs();
    for (const [name, window] of this.windows) if (window.isIdle(nowMs)) this.windows.delete(name);
  }
}

function nameOf({ policy, key }: Claim): string {
  return `${policy}:${key}`;
}
