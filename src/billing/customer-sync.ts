import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { Jobs } from '../platform/jobs/jobs';
import { ERASED_DOMAIN, isErased } from '../users/erased-user';
import { ADDRESS_CHANGED_JOB } from '../users/user-addresses';
import { User } from '../users/user.entity';
import { BillingAccount, type CustomerProblem } from './billing-account.entity';
import { BillingAccounts } from './billing-accounts';
import { ERASURE_JOB } from './billing-erasure';
import { BillingTasks } from './billing-tasks';
import { Catalogue } from './catalogue';
import { PolarClient } from './polar-client';
import { PolarFailure, toPolarFailure } from './polar-failure';
import type { PolarCustomer, PolarCustomerState } from './polar-schemas';
import { idBefore } from './time-ids';
import { releaseUnlinked } from './webhook-release';

const ADOPT_GAP_MS = 3_000;
const ADOPT_MAX = 500;
const SYNC_GAP_MS = 900;
/** Each costs a request or two: far below the 500 a minute that Polar allows. */
const SYNC_MAX = 3;
const LEASE_MS = 60_000;
const PROBLEM_RETRY_MS = 3_600_000;
const FAILURE_GAP_MAX_MS = 3_600_000;
/** A sign-up may commit after one with a later id. */
const ADOPT_OVERLAP_MS = 600_000;

const ADOPT_SQL = `
  WITH candidate AS (
    SELECT id FROM users WHERE id > $1 AND email <> id || '@${ERASED_DOMAIN}' ORDER BY id LIMIT $2
  ),
  adopted AS (
    INSERT INTO billing_accounts (user_id, sync_at) SELECT id, $3 FROM candidate ON CONFLICT DO NOTHING
  )
  SELECT max(id::text) AS last, count(*)::int AS count FROM candidate`;

const CLAIM_SQL = `
  UPDATE billing_accounts SET sync_at = $2
  WHERE user_id IN (SELECT user_id FROM billing_accounts WHERE sync_at <= $1 ORDER BY sync_at LIMIT $3 FOR UPDATE SKIP LOCKED)
  RETURNING user_id`;

/**
 * Keeps accounts and Polar's customers together: makes a customer for every new account, behind its sign-up, and asks
 * Polar for the state of those about whom something was heard.
 */
@Injectable()
export class CustomerSync implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly accounts: BillingAccounts,
    private readonly tasks: BillingTasks,
    private readonly catalogue: Catalogue,
    private readonly polar: PolarClient,
    private readonly jobs: Jobs,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ userId: string }>(ADDRESS_CHANGED_JOB, ({ userId }) =>
      this.accounts.syncAt(userId, this.clock.now()),
    );
    const inMs = (ms: number): Promise<Date> => Promise.resolve(new Date(this.clock.nowMs() + ms));
    this.tasks.define(
      'adopt',
      () => this.adopt(),
      () => inMs(ADOPT_GAP_MS),
    );
    this.tasks.define(
      'sync',
      () => this.syncDue(),
      () => inMs(SYNC_GAP_MS),
    );
  }

  /** Gives every new user an account, in the order of their ids, which is that of their sign-ups. */
  async adopt(): Promise<void> {
    const [task] = await this.db.query<{ memory: { after?: string } | null }[]>(
      `SELECT memory FROM billing_tasks WHERE name = 'adopt'`,
    );
    const after = task?.memory?.after ?? idBefore(0);
    const [found] = await this.db.query<{ last: string | null; count: number }[]>(ADOPT_SQL, [
      after,
      ADOPT_MAX,
      this.clock.now(),
    ]);
    if (!found?.last) return;
    const isFull = found.count === ADOPT_MAX;
    const next = isFull ? found.last : idBefore(this.clock.nowMs() - ADOPT_OVERLAP_MS);
    await this.db.query(`UPDATE billing_tasks SET memory = $1 WHERE name = 'adopt'`, [{ after: next }]);
  }

  /** Does the accounts that are due, a few at a time. */
  async syncDue(): Promise<void> {
    const now = this.clock.now();
    const lease = new Date(now.getTime() + LEASE_MS);
    const [due] = await this.db.query<[{ user_id: string }[], number]>(CLAIM_SQL, [now, lease, SYNC_MAX]);
    for (const { user_id: userId } of due) await this.syncLater(userId);
  }

  /**
   * Makes or finds the user's customer, gives him the account's address, asks for his state and applies it. An erased
   * account of which something was heard is taken out of Polar again: a checkout may have been paid afterwards.
   * @throws PolarFailure; it is tried again within a minute, as when this process dies.
   */
  async sync(userId: string): Promise<void> {
    // What is heard from here on is due sooner than this, so it is told from what was due before.
    const lease = new Date(this.clock.nowMs() + LEASE_MS);
    await this.db.update(BillingAccount, { userId }, { syncAt: lease });
    const user = await this.db.findOneByOrFail(User, { id: userId });
    if (isErased(user)) {
      await this.jobs.send(ERASURE_JOB, { userId }, this.db);
      await this.db.update(BillingAccount, { userId, syncAt: lease }, { syncAt: null });
      return;
    }
    const account = await this.accounts.find(userId);
    // Whatever is true now is at least as new as the moment before asking.
    const atUs = this.clock.nowMs() * 1_000;
    const state = await this.polar.getState(userId);
    const customer = state ?? (account?.polarCustomerId ? null : await this.makeCustomer(user));
    if (customer && typeof customer !== 'string') await this.keepAddress(customer, user);
    await this.accounts.change(userId, async (locked, tx) => {
      if (typeof customer === 'string') {
        await tx.query('UPDATE billing_accounts SET customer_problem = $2 WHERE user_id = $1', [
          userId,
          customer,
        ]);
      } else if (customer) {
        await this.accounts.noteCustomer(locked, customer.id, tx);
        await releaseUnlinked(customer.id, this.jobs, tx);
      }
      await this.noteState(locked, state, atUs, tx);
      const again = typeof customer === 'string' ? new Date(this.clock.nowMs() + PROBLEM_RETRY_MS) : null;
      await tx.query(
        `UPDATE billing_accounts SET sync_failures = 0,
           sync_at = CASE WHEN sync_at IS NULL OR sync_at = $3 THEN $2::timestamptz ELSE sync_at END
         WHERE user_id = $1`,
        [userId, again, lease],
      );
    });
  }

  /** Applies a whole state that was true at `atUs`; null: Polar does not know the customer, so he has nothing. */
  async noteState(
    account: BillingAccount,
    state: PolarCustomerState | null,
    atUs: number,
    tx: EntityManager,
  ): Promise<boolean> {
    const active = state?.active_subscriptions.map((one) => this.catalogue.factsOf(one)) ?? [];
    const grantedTiers = state ? this.catalogue.grantedTiers(state) : [];
    return this.accounts.noteState(account, { atUs, active, grantedTiers }, tx);
  }

  /** Polar sends invoices and payment reminders to the address it knows. */
  private async keepAddress({ id, email }: PolarCustomer, user: User): Promise<void> {
    if (email?.toLowerCase() === user.email.toLowerCase()) return;
    try {
      await this.polar.changeAddress(id, user.email);
    } catch (error) {
      if (!(error instanceof PolarFailure) || error.kind !== 'refused') throw error;
      this.log.warn({ user_id: user.id, reason: error.message }, 'address not taken by Polar');
    }
  }

  /** A failure is tried again after a second, then later and later, up to an hour. */
  private async syncLater(userId: string): Promise<void> {
    try {
      await this.sync(userId);
    } catch (error) {
      const { kind, message, retryAfterSeconds } = toPolarFailure(error);
      this.log.warn({ user_id: userId, kind, reason: message }, 'customer not synchronised with Polar');
      const gapMs = kind === 'rate_limited' ? retryAfterSeconds * 1_000 : 0;
      await this.db.query(
        `UPDATE billing_accounts SET sync_failures = sync_failures + 1,
           sync_at = $2::timestamptz + greatest($3::float8, least($4::float8, 1000 * power(2, least(sync_failures, 20)))) * interval '1 ms'
         WHERE user_id = $1`,
        [userId, this.clock.now(), gapMs, FAILURE_GAP_MAX_MS],
      );
    }
  }

  /**
   * Makes a customer, or finds the one that an earlier try made without our hearing of it. A customer with the same
   * address is taken over for a proven address only: it may have a plan that somebody else pays for.
   * @returns the customer, or why there is none.
   */
  private async makeCustomer(user: User): Promise<PolarCustomer | CustomerProblem> {
    const name = [user.firstName, user.lastName].filter(Boolean).join(' ') || null;
    try {
      return await this.polar.create_customer({ userId: user.id, email: user.email, name });
    } catch (error) {
      if (!(error instanceof PolarFailure) || error.status !== 422) throw error;
      return this.findCustomer(user, error);
    }
  }

  private async findCustomer(user: User, refusal: PolarFailure): Promise<PolarCustomer | CustomerProblem> {
    const own = await this.polar.get_customer(user.id).catch((error: unknown) => {
      if (error instanceof PolarFailure && error.kind === 'not_found') return null;
      throw error;
    });
    if (own) return own;
    const sameAddress = await this.polar.findCustomersByEmail(user.email);
    const free = sameAddress.find(({ external_id: owner }) => !owner);
    if (free && user.isVerified) {
      await this.polar.linkCustomer(free.id, user.id);
      // It may have a plan already, of which the state that was just asked for knew nothing.
      await this.accounts.syncAt(user.id, this.clock.now());
      return free;
    }
    if (sameAddress.length === 0) throw refusal;
    const problem = free ? 'email_not_verified' : 'email_of_another_customer';
    this.log.error({ user_id: user.id, problem }, 'no customer at Polar for this account');
    return problem;
  }
}
