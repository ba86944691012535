import type { Most } from './caps';
import type { Draw } from './close-statement';
import type { Opening } from './open-statement';

/** So long calls draw on a lease: what a process knows of an account is a second old at most. */
export const LEASE_MS = 1_000;
const NOTHING: Most = { tokens: 0n, costNanoUsd: 0n };

/** Room that this process holds for the next calls of a key. */
export class Lease {
  private tokens: bigint;
  private costNanoUsd: bigint;
  private underWay = 0;
  private isRetired = false;
  private readonly endsMs = performance.now() + LEASE_MS;

  /**
   * @param hold granted already, under the caps that it names.
   * @param calls so many it is for.
   * @param letGo is called when no call will draw on it any more: with what those under way leave of it, and once none is
   * under way with null, for all that remains.
   */
  constructor(
    readonly hold: Opening,
    readonly calls: number,
    private readonly letGo: (hold: Opening, part: Most | null) => void,
  ) {
    this.tokens = hold.most.tokens;
    this.costNanoUsd = hold.most.costNanoUsd;
  }

  get isOver(): boolean {
    return performance.now() >= this.endsMs;
  }

  /** Whether it is time for the next one. */
  get isLow(): boolean {
    return this.isUsedUp || performance.now() >= this.endsMs - LEASE_MS / 2;
  }

  /** Whether so much is drawn that it will not last for its time. */
  get isUsedUp(): boolean {
    const { tokens, costNanoUsd } = this.hold.most;
    return this.tokens * 2n < tokens || this.costNanoUsd * 2n < costNanoUsd;
  }

  get isLittleUsed(): boolean {
    const { tokens, costNanoUsd } = this.hold.most;
    return this.tokens * 8n > tokens * 7n && this.costNanoUsd * 8n > costNanoUsd * 7n;
  }

  /** Takes the most that a call may consume. @returns whether it did; {@link settle} or {@link giveBack} must follow then. */
  draw(call: Opening): boolean {
    const { tokens, costNanoUsd } = call.most;
    if (this.tokens < tokens || this.costNanoUsd < costNanoUsd || this.isOver) return false;
    // Another process lets go of the hold when it expires, with all that is drawn on it.
    if (call.month !== this.hold.month || call.expiresAt > this.hold.expiresAt) return false;
    this.tokens -= tokens;
    this.costNanoUsd -= costNanoUsd;
    this.underWay++;
    return true;
  }

  /**
   * Ends a call that has drawn with its line.
   * @param write writes the line with what it takes off the hold: what the call consumed, and what it leaves as well when
   * nobody will draw on that. Of a line that may be there or not, all that the call could consume stays held.
   */
  async settle(most: Most, consumed: Most, write: (draw: Draw) => Promise<void>): Promise<void> {
    const taken = this.isRetired ? most : least(most, consumed);
    let left = NOTHING;
    try {
      await write({ hold: this.hold, taken });
      left = { tokens: most.tokens - taken.tokens, costNanoUsd: most.costNanoUsd - taken.costNanoUsd };
    } finally {
      this.giveBack(left);
    }
  }

  /** Ends a call that has drawn. @param left what it did not consume, for the next ones. */
  giveBack(left: Most): void {
    this.tokens += left.tokens;
    this.costNanoUsd += left.costNanoUsd;
    this.underWay--;
    this.letGoWhenRetired();
  }

  /** No call draws on it any more. */
  retire(): void {
    this.isRetired = true;
    this.letGoWhenRetired();
  }

  /** A call may take long, and what it does not need must not stay held as long as it runs. */
  private letGoWhenRetired(): void {
    if (!this.isRetired) return;
    const { tokens, costNanoUsd } = this;
    [this.tokens, this.costNanoUsd] = [0n, 0n];
    if (this.underWay === 0) this.letGo(this.hold, null);
    else if (tokens > 0n || costNanoUsd > 0n) this.letGo(this.hold, { tokens, costNanoUsd });
  }
}

function least(one: Most, other: Most): Most {
  return {
    tokens: one.tokens < other.tokens ? one.tokens : other.tokens,
    costNanoUsd: one.costNanoUsd < other.costNanoUsd ? one.costNanoUsd : other.costNanoUsd,
  };
}
