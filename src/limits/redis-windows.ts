import type { RedisConnection } from '../platform/redis/redis-connection';
import { type ClaimState, type Decision, decisionOf } from './decision';
import { nameOf, type TakenPlaces } from './memory-limiter';
import type { Claim } from './policies';
import { ADD, BEAT, TAKE } from './shared-scripts';
import { stepMsOf } from './sliding-window';

const PREFIX = 'cortex-auth:limits:';
const PROCESSES_KEY = 'cortex-auth:processes';
/** A script keeps everyone else waiting: these bounds keep each in the low milliseconds. */
const REQUESTS_MAX = 100;
const MOMENTS_MAX = 1_000;
/** Nobody waits for these. */
const ADD_TIMEOUT_MS = 2_000;
/** A process that is not heard of for so long is gone. */
export const PRESENT_MS = 3_000;

interface Waiting {
  readonly claims: readonly Claim[];
  readonly resolve: (decision: Decision) => void;
  readonly reject: (error: unknown) => void;
}

/** Who shares a Redis: its time, in milliseconds, and the processes by id. */
export interface Presence {
  readonly redisNowMs: number;
  /** How many of them said so since the moment that was asked about. */
  readonly freshCount: number;
  readonly ids: readonly string[];
}

/**
 * The windows that all processes share, in Redis. The requests of one turn of the event loop are decided in one round
 * trip, whatever their policies. Every method throws when Redis does not answer in time.
 */
export class RedisWindows {
  private gathering: Waiting[] | undefined;

  constructor(private readonly redis: RedisConnection) {}

  /** Takes one place of every claim, or none of any. */
  take(claims: readonly Claim[]): Promise<Decision> {
    return new Promise((resolve, reject) => {
      if (!this.gathering) {
        const batch: Waiting[] = (this.gathering = []);
        setImmediate(() => void this.decide(batch));
      }
      this.gathering.push({ claims, resolve, reject });
      if (this.gathering.length === REQUESTS_MAX) this.gathering = undefined;
    });
  }

  /** Adds places that were taken elsewhere, with the moments they were taken at by this process's clock. */
  async add(places: readonly TakenPlaces[], nowMs: number): Promise<void> {
    for (const part of inParts(places)) {
      const args = part.flatMap(({ windowMs, moments }) => [
        windowMs,
        moments.length,
        ...moments.flatMap(({ atMs, count }) => [nowMs - atMs, count]),
      ]);
      await this.redis.run(
        ADD,
        part.map(({ name }) => PREFIX + name),
        args,
        ADD_TIMEOUT_MS,
      );
    }
  }

  /** Says whether this process shares the windows; also the proof that Redis takes writes. */
  async present(ownId: string, isHere: boolean, sinceMs = 0): Promise<Presence> {
    const args = [ownId, PRESENT_MS, isHere ? 1 : 0, sinceMs];
    const [redisNowMs, freshCount, ids] = (await this.redis.run(BEAT, [PROCESSES_KEY], args)) as [
      number,
      number,
      string[],
    ];
    return { redisNowMs, freshCount, ids };
  }

  private async decide(batch: readonly Waiting[]): Promise<void> {
    if (this.gathering === batch) this.gathering = undefined;
    const keys: string[] = [];
    const args: number[] = [];
    for (const { claims } of batch) {
      args.push(claims.length);
      for (const claim of claims) {
        const { limit, windowMs, places = 1, onlyLook } = claim;
        keys.push(PREFIX + nameOf(claim));
        args.push(limit, windowMs, stepMsOf(limit, windowMs), places, onlyLook ? 1 : 0);
      }
    }
    try {
      const numbers = (await this.redis.run(TAKE, keys, args)) as number[];
      let at = 0;
      for (const { claims, resolve } of batch) {
        resolve(decisionOf(claims.map((claim) => stateAt(numbers, 3 * at++, claim))));
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}

function stateAt(numbers: readonly number[], at: number, claim: Claim): ClaimState {
  const [waitMs = 0, remaining = 0, resetMs = 0] = numbers.slice(at, at + 3);
  return { claim, waitMs, remaining, resetMs };
}

/** The same places in lists of at most so many moments. */
function inParts(places: readonly TakenPlaces[]): TakenPlaces[][] {
  const parts: TakenPlaces[][] = [];
  let free = 0;
  for (const { moments, ...window } of places) {
    for (let from = 0; from < moments.length; from += MOMENTS_MAX) {
      const some = moments.slice(from, from + MOMENTS_MAX);
      if (some.length > free) {
        parts.push([]);
        free = MOMENTS_MAX;
      }
      parts.at(-1)?.push({ ...window, moments: some });
      free -= some.length;
    }
  }
  return parts;
}
