/** A process that was counted and is not heard of any more still counts for so long. */
const PATIENCE_MS = 5_000;

/** How many processes share the limits, as was known last, and which part of a limit is this one's. */
export class Processes {
  private count = 1;
  private rank = 0;
  private completeAtMs = 0;

  /** @param ownId tells this process from the others. */
  constructor(readonly ownId: string) {}

  get total(): number {
    return this.count;
  }

  /** Takes note of who is there. Fewer than before are believed when they stay fewer, for the others may just be late. */
  note(ids: readonly string[], nowMs: number): void {
    if (ids.length < this.count && nowMs - this.completeAtMs < PATIENCE_MS) return;
    this.count = Math.max(1, ids.length);
    this.rank = Math.max(0, [...ids].sort().indexOf(this.ownId));
    this.completeAtMs = nowMs;
  }

  /** From now on those who were there have time to come back. */
  awaitAll(nowMs: number): void {
    this.completeAtMs = nowMs;
  }

  /** This process's part of a limit: the parts of all make up the whole. */
  shareOf(limit: number): number {
    return Math.floor(limit / this.count) + (this.rank < limit % this.count ? 1 : 0);
  }
}
