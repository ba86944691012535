import { type ClaimState, type Decision, decisionOf } from './decision';
import type { Claim } from './policies';
import { type Moment, SlidingWindow } from './sliding-window';

/** What was taken of one window. */
export interface TakenPlaces {
  readonly name: string;
  readonly windowMs: number;
  readonly moments: readonly Moment[];
}

/** Limits in the memory of one process: all claims of a request are taken together or none is, at constant cost. */
export class MemoryLimiter {
  private readonly windows = new Map<string, SlidingWindow>();

  /** @param shareOf the part of a limit that is kept here. */
  constructor(private readonly shareOf: (limit: number) => number = (limit) => limit) {}

  /** Takes one place of every claim, or none of any. */
  take(claims: readonly Claim[], nowMs: number): Decision {
    const windows = claims.map((claim) => this.windows.get(nameOf(claim)));
    const isFree = claims.every((claim, i) => this.waitMs(windows[i], claim, nowMs) === 0);
    const states: ClaimState[] = claims.map((claim, i) => {
      const share = this.shareOf(claim.limit);
      let window = windows[i];
      if (isFree && !claim.onlyLook) {
        if (!window) this.windows.set(nameOf(claim), (window = new SlidingWindow(claim.windowMs)));
        window.take(share, nowMs, claim.places);
      }
      return {
        claim,
        waitMs: isFree ? 0 : this.waitMs(window, claim, nowMs),
        remaining: window?.remaining(share, nowMs) ?? share,
        resetMs: window?.resetMs(nowMs) ?? 0,
      };
    });
    return decisionOf(states);
  }

  /** What was taken since a moment, of every window. */
  takenSince(sinceMs: number, nowMs: number): TakenPlaces[] {
    return [...this.windows]
      .map(([name, window]) => ({
        name,
        windowMs: window.windowMs,
        moments: window.takenSince(sinceMs, nowMs),
      }))
      .filter(({ moments }) => moments.length > 0);
  }

  /** Forgets the windows in which nothing is taken any more. */
  sweep(nowMs: number): void {
    for (const [name, window] of this.windows) if (window.isIdle(nowMs)) this.windows.delete(name);
  }

  private waitMs(
    window: SlidingWindow | undefined,
    { limit, windowMs, places = 1 }: Claim,
    nowMs: number,
  ): number {
    const share = this.shareOf(limit);
    return window?.waitMs(share, nowMs, places) ?? (share >= places ? 0 : windowMs);
  }
}

/** The name of a claim's window. */
export function nameOf({ policy, key }: Claim): string {
  return `${policy}:${key}`;
}
