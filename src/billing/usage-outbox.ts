import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import type { UsageOutbox } from './usage-outbox.entity';

/** Customers whose amounts are taken in one statement. */
const TAKE_MAX = 1_000;
/** Far above what anybody uses in a minute, and exact as a number in JSON. */
const AMOUNT_MAX = 1_000_000_000_000_000;
/** Longer than a request to Polar may take: whoever dies in it has lost the rows after so long. */
const LEASE_MS = 30_000;

/** Rows that the ledger is writing just now are left for the next time: nobody waits for anybody. */
const TAKE_SQL = `
  WITH due AS (
    SELECT user_id, meter, least(amount, $4::numeric) AS amount FROM usage_pending
    WHERE amount <> 0 ORDER BY user_id, meter LIMIT $3 FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE usage_pending SET amount = usage_pending.amount - due.amount, taken = usage_pending.taken + due.amount
    FROM due WHERE usage_pending.user_id = due.user_id AND usage_pending.meter = due.meter
    RETURNING due.user_id, due.meter, due.amount
  ), numbered AS (
    SELECT *, row_number() OVER (ORDER BY user_id, meter) AS n FROM taken
  )
  INSERT INTO usage_outbox (id, user_id, meter, amount, created_at, status, attempts, next_attempt_at)
  SELECT ids.id, user_id, meter, amount, $2::timestamptz, 'pending', 0, $2::timestamptz
  FROM numbered JOIN unnest($1::uuid[]) WITH ORDINALITY AS ids (id, n) USING (n)
  RETURNING id`;

const CLAIM_SQL = `
  UPDATE usage_outbox SET next_attempt_at = $2
  WHERE id IN (SELECT id FROM usage_outbox WHERE status = 'pending' AND next_attempt_at <= $1
               ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)
  RETURNING id, user_id AS "userId", meter, amount, created_at AS "createdAt", attempts`;

/** An amount to be sent. */
export type ClaimedUsage = Pick<UsageOutbox, 'id' | 'userId' | 'meter' | 'amount' | 'createdAt' | 'attempts'>;

/** How the outbox stands. */
export interface OutboxState {
  readonly pending: number;
  readonly dead: number;
  /** When the oldest amount that still waits was taken; null: none waits. */
  readonly oldestAt: Date | null;
}

/** The amounts on their way to Polar. Every amount of the ledger is in one place: waiting there, here, or at Polar. */
@Injectable()
export class Outbox {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
  ) {}

  /** Takes what the ledger has added since the last time, an amount per customer and meter, in one statement each. */
  async take(): Promise<void> {
    for (let taken = TAKE_MAX; taken === TAKE_MAX;) {
      const ids = Array.from({ length: TAKE_MAX }, () => uuidv7());
      const rows = await this.db.query<unknown[]>(TAKE_SQL, [ids, this.clock.now(), TAKE_MAX, AMOUNT_MAX]);
      taken = rows.length;
    }
  }

  /** Hands out rows that are due, oldest first; nobody else gets them for half a minute. */
  async claim(max: number): Promise<ClaimedUsage[]> {
    const now = this.clock.now();
    const lease = new Date(now.getTime() + LEASE_MS);
    const [rows] = await this.db.query<[ClaimedUsage[], number]>(CLAIM_SQL, [now, lease, max]);
    return rows.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async markSent(rows: readonly ClaimedUsage[]): Promise<void> {
    await this.db.query(
      `UPDATE usage_outbox SET status = 'sent', sent_at = $2, error = NULL WHERE id = ANY($1) AND status = 'pending'`,
      [idsOf(rows), this.clock.now()],
    );
  }

  /** Sets rows aside that Polar will never take. */
  async markDead(rows: readonly ClaimedUsage[], error: string): Promise<void> {
    await this.db.query(
      `UPDATE usage_outbox SET status = 'dead', error = $2 WHERE id = ANY($1) AND status = 'pending'`,
      [idsOf(rows), error],
    );
  }

  /** Has rows sent again at `at`; `isCounted` when the try was theirs to fail. */
  async retry(rows: readonly ClaimedUsage[], at: Date, isCounted: boolean, error: string): Promise<void> {
    await this.db.query(
      `UPDATE usage_outbox SET next_attempt_at = $2, attempts = attempts + $3, error = $4
       WHERE id = ANY($1) AND status = 'pending'`,
      [idsOf(rows), at, isCounted ? 1 : 0, error],
    );
  }

  /** Has everything of a customer sent again: what Polar has counted it counts no more. */
  async sendAgain(userId: string, meter: string): Promise<void> {
    await this.db.query(
      `UPDATE usage_outbox SET status = 'pending', attempts = 0, next_attempt_at = $3
       WHERE user_id = $1 AND meter = $2 AND status <> 'pending'`,
      [userId, meter, this.clock.now()],
    );
  }

  /** Has sent again what was set aside, now that its cause may be gone. */
  async reviveDead(): Promise<void> {
    await this.db.query(
      `UPDATE usage_outbox SET status = 'pending', attempts = 0, next_attempt_at = $1 WHERE status = 'dead'`,
      [this.clock.now()],
    );
  }

  /** Whether something waits that was tried in vain: then taking more would only make more rows. */
  async isStuck(): Promise<boolean> {
    const sql = `SELECT 1 FROM usage_outbox WHERE status = 'pending' AND attempts > 0 LIMIT 1`;
    return (await this.db.query<unknown[]>(sql)).length > 0;
  }

  /** Whether Polar is still to be told of something that a customer used; what it refused for good is not. */
  async hasUnsent(userId: string): Promise<boolean> {
    const sql = `SELECT 1 FROM usage_pending WHERE user_id = $1 AND amount <> 0
                 UNION ALL SELECT 1 FROM usage_outbox WHERE user_id = $1 AND status = 'pending' LIMIT 1`;
    return (await this.db.query<unknown[]>(sql, [userId])).length > 0;
  }

  /** When the next row is due, or null. */
  async nextDue(): Promise<Date | null> {
    const sql = `SELECT min(next_attempt_at) AS at FROM usage_outbox WHERE status = 'pending'`;
    return (await this.db.query<{ at: Date | null }[]>(sql))[0]?.at ?? null;
  }

  async state(): Promise<OutboxState> {
    const [row] = await this.db.query<OutboxState[]>(
      `SELECT count(*) FILTER (WHERE status = 'pending')::int AS pending,
              count(*) FILTER (WHERE status = 'dead')::int AS dead,
              min(created_at) FILTER (WHERE status = 'pending') AS "oldestAt"
       FROM usage_outbox WHERE status <> 'sent'`,
    );
    return row ?? { pending: 0, dead: 0, oldestAt: null };
  }
}

function idsOf(rows: readonly ClaimedUsage[]): string[] {
  return rows.map(({ id }) => id);
}
