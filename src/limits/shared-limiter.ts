import type { Logger } from 'pino';
import type { Counter } from 'prom-client';
import type { Clock } from '../common/clock';
import type { Decision } from './decision';
import { MemoryLimiter, nameOf } from './memory-limiter';
import type { Claim } from './policies';
import type { Processes } from './processes';
import type { RedisWindows } from './redis-windows';

const BEAT_GAP_MS = 250;

/**
 * - `shared`: Redis decides.
 * - `alone`: Redis failed; this process decides, with its share of each limit.
 * - `returning`: both must agree, until all processes have told Redis what was taken meanwhile.
 */
type Mode = 'shared' | 'alone' | 'returning';

/**
 * Limits that processes share through Redis. Whatever happens to Redis, never more than a limit is accepted over all of
 * them in any window that begins after the failure: the shares add up to the limit, a process that comes back tells
 * Redis what it has let through, and it keeps to its share until the last of the others has done so too.
 */
export class SharedLimiter {
  private mode: Mode = 'alone';
  private failureCount = 0;
  private local: MemoryLimiter;
  /** Since when places were taken that Redis was not told of; undefined: it knows all. */
  private untoldSinceMs: number | undefined;
  /** When this process came back, by the clock of Redis. */
  private returnedAtRedisMs = 0;
  private timer: NodeJS.Timeout | undefined;
  private beating: Promise<void> = Promise.resolve();
  /** Until when a window is known to have no place, for {@link lookHere}. */
  private readonly knownFullUntilMs = new Map<string, number>();

  constructor(
    private readonly windows: RedisWindows,
    private readonly processes: Processes,
    private readonly clock: Clock,
    private readonly log: Logger,
    private readonly failuresTotal: Pick<Counter, 'inc'>,
  ) {
    this.local = this.newLocal();
  }

  /** Whether Redis alone decides now. */
  get isShared(): boolean {
    return this.mode === 'shared';
  }

  /** Begins to share; resolves after the first try, whether it succeeded or not. */
  async start(): Promise<void> {
    await this.beat();
    if (this.mode === 'alone') this.log.warn('Redis does not answer: limits are not shared until it does');
    this.keepBeating();
  }

  /** Ends sharing: the others need not wait for this process. */
  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    await this.beating;
    await this.windows.present(this.processes.ownId, false).catch(() => undefined);
  }

  /** Takes one place of every claim, or none of any; waits for Redis at most as long as that may take. */
  async take(claims: readonly Claim[]): Promise<Decision> {
    const nowMs = this.clock.nowMs();
    if (this.mode === 'alone') return this.local.take(claims, nowMs);
    const own = this.mode === 'returning' ? this.local.take(claims, nowMs) : undefined;
    if (own?.refused) return own;
    try {
      const decision = await this.windows.take(claims);
      this.rememberFull(decision, nowMs);
      return decision;
    } catch (error) {
      this.goAlone(error);
      return own ?? this.local.take(claims, this.clock.nowMs());
    }
  }

  /** What is known by this process alone of claims that only look. */
  lookHere(claims: readonly Claim[]): Decision {
    const nowMs = this.clock.nowMs();
    const looks = claims.map((claim) => {
      const fullMs = (this.knownFullUntilMs.get(nameOf(claim)) ?? 0) - nowMs;
      // Longer than the window it cannot be: then the clock has stepped back, and Redis is asked.
      const waitMs = fullMs > claim.windowMs ? 0 : Math.max(0, fullMs);
      return { claim, waitMs, remaining: 0, resetMs: waitMs };
    });
    const full = looks.find(({ waitMs }) => waitMs > 0);
    return full ? { states: looks, refused: full } : this.local.take(claims, nowMs);
  }

  /** Forgets what no longer matters. */
  sweep(): void {
    const nowMs = this.clock.nowMs();
    this.local.sweep(nowMs);
    for (const [name, untilMs] of this.knownFullUntilMs)
      if (untilMs <= nowMs) this.knownFullUntilMs.delete(name);
  }

  /** Only what is asked about before anyone waits for Redis. */
  private rememberFull({ refused }: Decision, nowMs: number): void {
    if (refused?.claim.policy === 'wrong-credentials')
      this.knownFullUntilMs.set(nameOf(refused.claim), nowMs + refused.waitMs);
  }

  private keepBeating(): void {
    this.timer = setTimeout(() => {
      this.beating = this.beat().then(() => {
        if (this.timer) this.keepBeating();
      });
    }, BEAT_GAP_MS).unref();
  }

  private async beat(): Promise<void> {
    try {
      if (this.mode === 'alone') await this.comeBack();
      await this.beHere();
    } catch (error) {
      this.goAlone(error);
    }
  }

  /** Redis answers again: from one moment on it is asked, and what was taken before that moment is told to it. */
  private async comeBack(): Promise<void> {
    const { redisNowMs } = await this.windows.present(this.processes.ownId, false);
    const nowMs = this.clock.nowMs();
    const untold = this.untoldSinceMs === undefined ? [] : this.local.takenSince(this.untoldSinceMs, nowMs);
    this.mode = 'returning';
    this.returnedAtRedisMs = redisNowMs;
    this.processes.awaitAll(performance.now());
    await this.windows.add(untold, nowMs);
    this.untoldSinceMs = undefined;
  }

  /** A process says that it is here when all it has taken is in Redis; when all say so, Redis knows everything. */
  private async beHere(): Promise<void> {
    const presence = await this.windows.present(this.processes.ownId, true, this.returnedAtRedisMs);
    this.processes.note(presence.ids, performance.now());
    if (this.mode !== 'returning' || presence.freshCount < this.processes.total) return;
    this.mode = 'shared';
    this.local = this.newLocal();
    if (this.failureCount > 0) this.log.info({ processes: this.processes.total }, 'limits are shared again');
  }

  /** At a failure in between, what was told may be told again: that errs against the caller, for one window. */
  private goAlone(error: unknown): void {
    if (this.mode === 'alone') return;
    this.mode = 'alone';
    this.untoldSinceMs ??= this.clock.nowMs();
    this.failureCount += 1;
    this.failuresTotal.inc();
    const reason = error instanceof Error ? error.message : String(error);
    this.log.warn(
      { reason, processes: this.processes.total },
      'Redis failed: each process keeps to its share',
    );
  }

  private newLocal(): MemoryLimiter {
    return new MemoryLimiter((limit) => this.processes.shareOf(limit));
  }
}
