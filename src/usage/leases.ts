import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { Caps, Most } from './caps';
import { Holds } from './holds';
import { Lease, LEASE_MS } from './lease';
import type { Opening } from './open-statement';

const SWEEP_MS = 500;
/** A key is busy when so many of its calls find no lease between two sweeps. */
const BUSY_CALLS = 8;
const CALLS_MAX = 16_384;
/** A lease takes no more than this part of what a cap leaves: so calls are hardly refused for what stays unused of it. */
const ROOM_SHARE = 64n;

/** A key whose calls have caps, as long as it has calls. */
interface KeyState {
  lease: Lease | null;
  isAsking: boolean;
  /** Since the last sweep, so many calls found no lease. */
  missed: number;
  /** Since the last sweep, for no more calls was there room. */
  callsMax: number;
}

/**
 * Room that is held ahead for busy keys, so that a call under a cap need not wait for a statement before it runs: it
 * draws on a lease, a hold in the name of this process, and the statement that writes its line takes what it consumed off
 * that hold. So what is settled and held together exceeds no cap, as with a hold for each call.
 */
@Injectable()
export class Leases implements OnApplicationShutdown {
  private readonly keys = new Map<string, KeyState>();
  private readonly pending = new Set<Promise<void>>();
  private readonly timer = setInterval(() => {
    this.sweep();
  }, SWEEP_MS).unref();

  constructor(private readonly holds: Holds) {}

  /** Draws what a call may consume on a lease of its key. @returns null: there is none, or not enough on it. */
  draw(call: Opening): Lease | null {
    if (call.apiKeyId === null) return null;
    const state = this.stateOf(call.apiKeyId);
    const lease = state.lease && isEqual(state.lease.hold.caps, call.caps) ? state.lease : null;
    const isDrawn = lease?.draw(call) === true;
    if (!isDrawn) state.missed++;
    const isDue = lease ? lease.isLow : state.missed >= BUSY_CALLS;
    if (isDue && !state.isAsking && state.callsMax >= BUSY_CALLS) this.keep(this.ask(state, call));
    return isDrawn ? lease : null;
  }

  /** Lets go of leases that are over, and forgets keys without calls. */
  sweep(): void {
    for (const [apiKeyId, state] of this.keys) {
      if (state.lease?.isOver) replaceLease(state, null);
      if (!state.lease && !state.isAsking && state.missed === 0) this.keys.delete(apiKeyId);
      state.missed = 0;
      state.callsMax = CALLS_MAX;
    }
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.pending);
    for (const state of this.keys.values()) replaceLease(state, null);
    await Promise.all(this.pending);
  }

  /** Asks for a lease of such calls; the one before it is drawn on until then. */
  private async ask(state: KeyState, call: Opening): Promise<void> {
    state.isAsking = true;
    const calls = Math.min(state.lease ? callsAfter(state.lease) : BUSY_CALLS, state.callsMax);
    const many = BigInt(calls);
    const hold: Opening = {
      ...call,
      id: uuidv7(),
      most: { tokens: call.most.tokens * many, costNanoUsd: call.most.costNanoUsd * many },
      expiresAt: new Date(call.expiresAt.getTime() + LEASE_MS),
    };
    const isGranted = await this.holds.openAhead({ ...hold, caps: lessened(call.caps, hold.most) });
    state.isAsking = false;
    if (isGranted)
      replaceLease(
        state,
        new Lease(hold, calls, (over, part) => {
          this.keep(part ? this.holds.releasePart({ hold: over, taken: part }) : this.holds.release(over));
        }),
      );
    else state.callsMax = calls / 2;
  }

  private stateOf(apiKeyId: string): KeyState {
    const known = this.keys.get(apiKeyId);
    if (known) return known;
    const state = { lease: null, isAsking: false, missed: 0, callsMax: CALLS_MAX };
    this.keys.set(apiKeyId, state);
    return state;
  }

  private keep(work: Promise<void>): void {
    this.pending.add(work);
    void work.finally(() => this.pending.delete(work));
  }
}

function replaceLease(state: KeyState, next: Lease | null): void {
  state.lease?.retire();
  state.lease = next;
}

/** Twice as many where a lease did not last for its time, half as many where most of it was left. */
function callsAfter({ calls, isUsedUp, isLittleUsed }: Lease): number {
  if (isUsedUp) return Math.min(CALLS_MAX, calls * 2);
  return isLittleUsed ? Math.max(BUSY_CALLS, calls / 2) : calls;
}

/** Caps under which so much fits only where there is {@link ROOM_SHARE} times the room. */
function lessened({ apiKeyUsd, accountUsd, tokens }: Caps, most: Most): Caps {
  const lessen = (cap: bigint | null, by: bigint): bigint | null => cap && cap - by * (ROOM_SHARE - 1n);
  return {
    apiKeyUsd: lessen(apiKeyUsd, most.costNanoUsd),
    accountUsd: lessen(accountUsd, most.costNanoUsd),
    tokens: lessen(tokens, most.tokens),
  };
}

function isEqual(one: Caps, other: Caps): boolean {
  return (
    one.apiKeyUsd === other.apiKeyUsd && one.accountUsd === other.accountUsd && one.tokens === other.tokens
  );
}
