import { type ClaimState, type Decision, decisionOf } from './decision';
import type { Claim } from './policies';
import { SlidingWindow } from './sliding-window';

/** Limits in the memory of one process: all claims of a request are taken together or none is, at constant cost. */
export class MemoryLimiter {
  private readonly windows = new Map<string, SlidingWindow>();

  /** Takes one place of every claim, or none of any. */
  take(claims: readonly Claim[], nowMs: number): Decision {
    const windows = claims.map((claim) => this.windows.get(nameOf(claim)));
    const isFree = claims.every((claim, i) => waitMs(windows[i], claim, nowMs) === 0);
    const states: ClaimState[] = claims.map((claim, i) => {
      let window = windows[i];
      if (isFree && !claim.onlyLook) {
        if (!window) this.windows.set(nameOf(claim), (window = new SlidingWindow(claim.windowMs)));
        window.take(claim.limit, nowMs);
      }
      return {
        claim,
        waitMs: isFree ? 0 : waitMs(window, claim, nowMs),
        remaining: window?.remaining(claim.limit, nowMs) ?? claim.limit,
        resetMs: window?.resetMs(nowMs) ?? 0,
      };
    });
    return decisionOf(states);
  }

  /** Forgets the windows in which nothing is taken any more. */
  sweep(nowMs: number): void {
    for (const [name, window] of this.windows) if (window.isIdle(nowMs)) this.windows.delete(name);
  }
}

function waitMs(window: SlidingWindow | undefined, { limit, windowMs }: Claim, nowMs: number): number {
  return window?.waitMs(limit, nowMs) ?? (limit > 0 ? 0 : windowMs);
}

function nameOf({ policy, key }: Claim): string {
  return `${policy}:${key}`;
}
