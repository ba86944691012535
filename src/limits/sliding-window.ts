/** Up to this limit every accepted request is remembered by the millisecond; above it, by 1/1000 of the window. */
const EXACT_LIMIT_MAX = 10_000;
const COARSE_STEPS = 1_000;

/** What moments are rounded up to, in milliseconds. */
export function stepMsOf(limit: number, windowMs: number): number {
  return limit <= EXACT_LIMIT_MAX ? 1 : Math.ceil(windowMs / COARSE_STEPS);
}

/** Places that were taken at one moment. */
export interface Moment {
  readonly atMs: number;
  readonly count: number;
}

/**
 * An exact sliding window: never more than the limit is accepted in any span of the window's length. It is a queue
 * of accepted moments, each with its count, and costs constant time: what enters once leaves once. For large limits
 * moments are rounded up to steps, so a place frees at most one step late and never early. When the clock steps back,
 * the newest place counts as taken at that moment and the others as long before it as they were: a place frees at most
 * one window late, and never early.
 */
export class SlidingWindow {
  private times = new Float64Array(8);
  private counts = new Uint32Array(8);
  private head = 0;
  private length = 0;
  private total = 0;

  private readonly stepMsMax: number;

  constructor(readonly windowMs: number) {
    this.stepMsMax = Math.ceil(windowMs / COARSE_STEPS);
  }

  /** How many milliseconds to wait for so many free places; 0 when there are as many now. */
  waitMs(limit: number, nowMs: number, places = 1): number {
    this.expire(nowMs);
    let excess = this.total - limit + places;
    if (excess <= 0) return 0;
    if (limit < places) return this.windowMs;
    for (let i = 0; i < this.length; i++) {
      const at = this.index(i);
      excess -= this.counts[at] ?? 0;
      if (excess <= 0) return Math.max(1, (this.times[at] ?? 0) + this.windowMs - nowMs);
    }
    return this.windowMs;
  }

  /** Takes places; ask {@link waitMs} first. */
  take(limit: number, nowMs: number, places = 1): void {
    if (places === 0) return;
    const stepMs = stepMsOf(limit, this.windowMs);
    const last = this.index(this.length - 1);
    // A clock that steps back a little must not reorder the queue.
    const moment = Math.max(
      Math.ceil(nowMs / stepMs) * stepMs,
      this.length > 0 ? (this.times[last] ?? 0) : 0,
    );
    this.total += places;
    if (this.length > 0 && this.times[last] === moment) {
      this.counts[last] = (this.counts[last] ?? 0) + places;
      return;
    }
    if (this.length === this.times.length) this.grow();
    const at = this.index(this.length);
    this.times[at] = moment;
    this.counts[at] = places;
    this.length += 1;
  }

  /** Places still free. */
  remaining(limit: number, nowMs: number): number {
    this.expire(nowMs);
    return Math.max(0, limit - this.total);
  }

  /** Milliseconds until the oldest taken place frees; 0 when none is taken. */
  resetMs(nowMs: number): number {
    this.expire(nowMs);
    return this.length === 0 ? 0 : (this.times[this.head] ?? 0) + this.windowMs - nowMs;
  }

  /** Whether nothing is remembered, so that the window can be forgotten. */
  isIdle(nowMs: number): boolean {
    this.expire(nowMs);
    return this.length === 0;
  }

  /** What was taken since a moment and is still in the window, oldest first. */
  takenSince(sinceMs: number, nowMs: number): Moment[] {
    this.expire(nowMs);
    const all = Array.from({ length: this.length }, (_, i) => this.index(i));
    return all
      .map((at) => ({ atMs: this.times[at] ?? 0, count: this.counts[at] ?? 0 }))
      .filter(({ atMs }) => atMs >= sinceMs);
  }

  private expire(nowMs: number): void {
    const aheadMs = (this.times[this.index(this.length - 1)] ?? 0) - nowMs;
    if (this.length > 0 && aheadMs > this.stepMsMax) this.times = this.times.map((time) => time - aheadMs);
    const start = nowMs - this.windowMs;
    while (this.length > 0 && (this.times[this.head] ?? 0) <= start) {
      this.total -= this.counts[this.head] ?? 0;
      this.head = this.index(1);
      this.length -= 1;
    }
  }

  private index(offset: number): number {
    return (this.head + offset + this.times.length) % this.times.length;
  }

  private grow(): void {
    const times = new Float64Array(this.times.length * 2);
    const counts = new Uint32Array(times.length);
    for (let i = 0; i < this.length; i++) {
      times[i] = this.times[this.index(i)] ?? 0;
      counts[i] = this.counts[this.index(i)] ?? 0;
    }
    this.times = times;
    this.counts = counts;
    this.head = 0;
  }
}
