import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { BillingTasks } from './billing-tasks';
import { PolarClient } from './polar-client';
import { Outbox } from './usage-outbox';
import { meters } from './usage-reporter';

/** So many customers are compared in a go, each by one request, and the next few a little later: 120 a minute. */
const BATCH_MAX = 10;
const BATCH_GAP_MS = 5_000;
const IDLE_GAP_MS = 60_000;
/** Whoever used something is compared once a day; whoever differs, every ten minutes. */
const AGAIN_MS = 86_400_000;
const DRIFT_AGAIN_MS = 600_000;
const EPOCH = new Date(0);

const DUE_SQL = `
  SELECT p.user_id AS "userId", p.meter FROM usage_pending p
  LEFT JOIN usage_comparisons c USING (user_id, meter)
  WHERE p.taken > 0 AND (c.user_id IS NULL OR (c.taken <> p.taken AND c.checked_at <= $1) OR (c.drift <> 0 AND c.checked_at <= $2))
  ORDER BY c.checked_at NULLS FIRST LIMIT $3`;

const STANDING_SQL = `
  SELECT p.taken, p.taken - coalesce((SELECT sum(o.amount) FROM usage_outbox o
                                      WHERE o.user_id = p.user_id AND o.meter = p.meter AND o.status <> 'sent'), 0) AS sent
  FROM usage_pending p WHERE p.user_id = $1 AND p.meter = $2`;

const STORE_SQL = `
  INSERT INTO usage_comparisons (user_id, meter, taken, polar, drift, checked_at) VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (user_id, meter) DO UPDATE
  SET taken = EXCLUDED.taken, polar = EXCLUDED.polar, drift = EXCLUDED.drift, checked_at = EXCLUDED.checked_at`;

/** What was taken from the ledger, and what of it Polar has said it took. */
interface Standing {
  readonly taken: bigint;
  readonly sent: bigint;
}

/** Holds what Polar has counted against what it was sent, customer by customer, and sends again what it lacks. */
@Injectable()
export class UsageComparer implements OnModuleInit {
  private readonly meterIds = new Map<string, string>();

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly outbox: Outbox,
    private readonly tasks: BillingTasks,
    private readonly polar: PolarClient,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onModuleInit(): void {
    let more = false;
    this.tasks.define(
      'usage-compare',
      async () => {
        more = (await this.compareDue()) === BATCH_MAX;
      },
      () => Promise.resolve(new Date(this.clock.nowMs() + (more ? BATCH_GAP_MS : IDLE_GAP_MS))),
    );
  }

  /** Has everybody compared anew, as fast as that goes. */
  async compareAll(): Promise<void> {
    await this.db.query('UPDATE usage_comparisons SET checked_at = $1, taken = -1', [EPOCH]);
    await this.tasks.hurry('usage-compare');
  }

  /** Compares the customers that are due, a few of them. @returns how many it were. */
  async compareDue(): Promise<number> {
    const nowMs = this.clock.nowMs();
    const before = (ms: number): Date => new Date(nowMs - ms);
    const due = await this.db.query<{ userId: string; meter: string }[]>(DUE_SQL, [
      before(AGAIN_MS),
      before(DRIFT_AGAIN_MS),
      BATCH_MAX,
    ]);
    for (const { userId, meter } of due) await this.compare(userId, meter);
    return due.length;
  }

  /**
   * Usage goes on meanwhile: what Polar has must be no less than what it had taken before the question, and no more
   * than what was taken from the ledger after it. Less means that Polar lost what it said it took: it gets all again,
   * and counts what it has but once.
   */
  private async compare(userId: string, meter: string): Promise<void> {
    const meterId = await this.meterId(meter);
    const before = await this.standing(userId, meter);
    const now = this.clock.now();
    const polar = BigInt(Math.round(await this.polar.meterTotal(meterId, userId, EPOCH, now)));
    const after = await this.standing(userId, meter);
    const drift = polar < before.sent ? polar - before.sent : polar > after.taken ? polar - after.taken : 0n;
    await this.db.query(STORE_SQL, [userId, meter, before.taken, polar, drift, now]);
    if (drift === 0n) return;
    this.log.error(
      { user_id: userId, meter, drift: String(drift) },
      'usage at Polar differs from the ledger',
    );
    if (drift < 0n) {
      await this.outbox.sendAgain(userId, meter);
      await this.tasks.hurry('usage-send');
    }
  }

  private async standing(userId: string, meter: string): Promise<Standing> {
    const [row] = await this.db.query<{ taken: string; sent: string }[]>(STANDING_SQL, [userId, meter]);
    return { taken: BigInt(row?.taken ?? 0), sent: BigInt(row?.sent ?? 0) };
  }

  /** @throws Error when it has not been made: `npm run polar:setup` does. */
  private async meterId(meter: string): Promise<string> {
    const name = meters[meter]?.eventName ?? meter;
    const id = this.meterIds.get(meter) ?? (await this.polar.findMeter(name));
    if (!id) throw new Error(`Polar has no meter "${name}"; npm run polar:setup makes it.`);
    this.meterIds.set(meter, id);
    return id;
  }
}
