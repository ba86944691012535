import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager, LessThanOrEqual } from 'typeorm';
import { ApiError } from '../common/api-error';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { queryPrepared } from '../platform/database/prepared-statements';
import { isLate } from '../platform/database/statement-limits';
import { Alerts } from './alerts';
import { capInTheWay, refusal } from './caps';
import type { Draw, Held } from './close-statement';
import { fittingTogether } from './fitting-together';
import { GroupCommit } from './group-commit';
import { Ledger } from './ledger';
import {
  HOLD_ALL_SQL,
  holdAllParameters,
  JUDGE_SQL,
  judgeParameters,
  MAKE_MONTHS_SQL,
  type Opening,
  type OpenRow,
  standingsOf,
} from './open-statement';
import { UsageHold } from './usage-hold.entity';
import type { UsageLog } from './usage-log.entity';
import { UsageErrors } from './usage.errors';
import { isDataError } from './write-errors';

const SWEEP_MS = 5_000;
const SWEEP_ROWS_MAX = 500;
const UNRELEASED_MAX = 10_000;
/** So long a hold is let go of again and again: a statement that was given up may yet be carried out. */
const RELEASED_AGAIN_MS = 60_000;

/** Sets aside what calls may consume before they run, so that caps hold however many run at once. */
@Injectable()
export class Holds implements OnApplicationShutdown {
  private readonly opening = new GroupCommit<Opening, ApiError | null>(
    (openings) => this.decideAll(openings),
    isDataError,
    UsageErrors.ledgerBusy,
  );
  private readonly openingAhead = new GroupCommit<Opening, boolean>(
    async (openings) => (await this.judge(openings, false)).map(({ is_granted }) => is_granted),
    isDataError,
    UsageErrors.ledgerBusy,
  );
  /** By id: of calls that failed, and that the database could not be told of yet. Would they expire, a stream were charged. */
  private readonly unreleased = new Map<string, { readonly hold: Held; readonly sinceMs: number }>();
  /** Calls that were asked for again, since the first answer was lost. */
  private readonly askedAgain = new WeakSet<Opening>();
  private sweeping: Promise<void> | undefined;
  private readonly timer = setInterval(() => {
    this.sweeping ??= this.sweep()
      .catch((error: unknown) => {
        this.log.warn({ err: error }, 'holds that nobody came back for were not let go of; tried again soon');
      })
      .finally(() => (this.sweeping = undefined));
  }, SWEEP_MS).unref();

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly alerts: Alerts,
    private readonly ledger: Ledger,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /**
   * Resolves once the hold is committed; `Ledger.append` or {@link release} ends it.
   * @throws ApiError `budget_exceeded`, `quota_exceeded`: nothing is held then. `metering_busy` when the queue is full.
   */
  async open(opening: Opening): Promise<void> {
    const refused = await this.opening.add(opening).catch((error: unknown) => {
      // A lost answer leaves open whether the hold is there, and the call does not run.
      if (!(error instanceof ApiError)) this.releaseLater(opening);
      throw error;
    });
    // The first send may grant it even now, and nobody would come back for that hold.
    if (refused && this.askedAgain.has(opening)) this.releaseLater(opening);
    if (refused) throw refused;
  }

  /** Sets aside what calls to come may consume, where there is room. @returns whether there was. */
  async openAhead(opening: Opening): Promise<boolean> {
    return this.openingAhead.add(opening).catch(() => {
      this.releaseLater(opening);
      return false;
    });
  }

  /** Lets go of the hold of a call that failed; with the next sweep, when that cannot be written now. */
  async release(hold: Held): Promise<void> {
    await this.ledger.release(hold).catch(() => {
      this.releaseLater(hold);
    });
  }

  /** Lets go of a part of a hold; together with the rest of it, when that cannot be written now. */
  async releasePart(part: Draw): Promise<void> {
    await this.ledger.releasePart(part).catch(() => undefined);
  }

  /**
   * Lets go of what calls that failed could not let go of, then ends what dead processes left: all holds that nobody
   * came back for in time, streams with their line.
   */
  async sweep(): Promise<void> {
    await this.releaseAgain();
    let lost: UsageHold[];
    do {
      lost = await this.db.find(UsageHold, {
        where: { expiresAt: LessThanOrEqual(this.clock.now()) },
        order: { userId: 'ASC', id: 'ASC' },
        take: SWEEP_ROWS_MAX,
      });
      // Whoever else sweeps at this moment does the same: each hold is let go of once.
      await Promise.all(lost.map((hold) => this.ledger.releaseLost(hold, lineOf(hold))));
    } while (lost.length === SWEEP_ROWS_MAX);
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.opening.drained();
    await this.openingAhead.drained();
    await this.sweeping;
    await this.releaseAgain();
  }

  /** Lets go of the hold of a call that failed, with the next sweep. */
  releaseLater(hold: Held): void {
    if (this.unreleased.size < UNRELEASED_MAX && !this.unreleased.has(hold.id))
      this.unreleased.set(hold.id, { hold, sinceMs: performance.now() });
  }

  private async releaseAgain(): Promise<void> {
    await Promise.all(
      [...this.unreleased.values()].map(async ({ hold, sinceMs }) => {
        const isReleased = await this.ledger.release(hold).then(
          () => true,
          () => false,
        );
        if (isReleased && performance.now() - sinceMs >= RELEASED_AGAIN_MS) this.unreleased.delete(hold.id);
      }),
    );
  }

  /**
   * Each turn decides about one call at least: the first in a row is granted when it fits, and refused when not. One that
   * only those before it leave no room for is asked for again, beside what they hold by then: first those that fit
   * together, then the rest, which they leave no room for. So it takes three turns, unless others come and go meanwhile.
   */
  private async decideAll(openings: readonly Opening[]): Promise<(ApiError | null)[]> {
    const verdicts = new Map<Opening, ApiError | null>();
    let open = openings;
    while (open.length > 0) {
      const rows = await this.turn(open, verdicts, open === openings);
      const together = fittingTogether(open, rows, verdicts);
      if (together.length > 0) await this.turn(together, verdicts, true);
      open = open.filter((opening) => !verdicts.has(opening));
    }
    return openings.map((opening) => verdicts.get(opening) ?? null);
  }

  private async turn(
    openings: readonly Opening[],
    verdicts: Map<Opening, ApiError | null>,
    mayAllFit: boolean,
  ): Promise<readonly OpenRow[]> {
    const rows = await this.ask(openings, mayAllFit);
    if (rows.some(({ is_known }) => !is_known)) await this.makeMonths(openings);
    this.decide(openings, rows, verdicts);
    return rows;
  }

  private decide(
    openings: readonly Opening[],
    rows: readonly OpenRow[],
    verdicts: Map<Opening, ApiError | null>,
  ): void {
    const isRoomForAll = rows.length === 0;
    if (isRoomForAll) for (const opening of openings) verdicts.set(opening, null);
    for (const [index, opening] of openings.entries()) {
      const row = rows[index];
      if (row?.is_granted) verdicts.set(opening, null);
      if (!row?.is_known || row.is_granted) continue;
      const now = standingsOf(row);
      const cap = capInTheWay(opening.caps, opening.most, now);
      if (cap === null) continue;
      verdicts.set(opening, refusal(cap, opening.caps, opening.most, now, opening.month));
      this.alerts.refused(cap, opening, now[cap].settled);
    }
  }

  /**
   * A broken connection leaves open whether the holds are there; whoever has one keeps it, so asking again is safe. What
   * the first send held while the second one waited, that one counts without knowing whose it is; the third one knows.
   * @returns what was judged of each call; nothing when there was room for all.
   */
  private async ask(openings: readonly Opening[], mayAllFit: boolean): Promise<OpenRow[]> {
    try {
      const mayBeHeld = openings.some((opening) => this.askedAgain.has(opening));
      if (mayAllFit && !mayBeHeld && (await this.holdAll(openings))) return [];
      return await this.judge(openings, mayBeHeld);
    } catch (error) {
      if (isDataError(error) || isLate(error)) throw error;
      for (const opening of openings) this.askedAgain.add(opening);
      await this.judge(openings, true);
      return this.judge(openings, true);
    }
  }

  private judge(openings: readonly Opening[], mayBeHeld: boolean): Promise<OpenRow[]> {
    return queryPrepared<OpenRow>(this.db, JUDGE_SQL, judgeParameters(openings, mayBeHeld));
  }

  private async holdAll(openings: readonly Opening[]): Promise<boolean> {
    const columns = holdAllParameters(openings);
    const [room] = await queryPrepared<{ is_for_all: boolean }>(this.db, HOLD_ALL_SQL, columns);
    return room?.is_for_all === true;
  }

  private async makeMonths(openings: readonly Opening[]): Promise<void> {
    await this.db.query(MAKE_MONTHS_SQL, [
      openings.map(({ userId }) => userId),
      openings.map(({ apiKeyId }) => apiKeyId),
      openings.map(({ month }) => month),
    ]);
  }
}

function lineOf({ lineIfLost }: UsageHold): UsageLog | null {
  return lineIfLost && { ...lineIfLost, createdAt: new Date(lineIfLost.createdAt) };
}
