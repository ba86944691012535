import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { isUUID } from 'class-validator';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { ZodError } from 'zod';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { Jobs } from '../platform/jobs/jobs';
import { isErased } from '../users/erased-user';
import { lockUser } from '../users/lock-user';
import { User } from '../users/user.entity';
import { BillingAccount } from './billing-account.entity';
import { BillingAccounts } from './billing-accounts';
import { BillingEvent, type BillingEventStatus } from './billing-event.entity';
import { Catalogue } from './catalogue';
import { CustomerSync } from './customer-sync';
import { microseconds } from './entitlement';
import { PolarCheckoutRow } from './polar-checkout.entity';
import {
  aboutCustomerSchema,
  checkoutStatusSchema,
  customerStateSchema,
  envelopeSchema,
  type PolarEnvelope,
  subscriptionSchema,
} from './polar-schemas';
import { APPLY_JOB, releaseUnlinked } from './webhook-release';

/** After so long Polar is asked what is true now: a burst of deliveries makes one question. */
const ASK_AFTER_MS = 2_000;
const ERROR_CHARS_MAX = 300;

/** The kinds of which something is to be known; all others are kept and nothing more. */
const ABOUT_CUSTOMERS = /^(customer|subscription|order|refund|benefit_grant|checkout)\./;
/** Kinds that may change what a customer has without saying all of it. */
const HINTS = /^(subscription|benefit_grant)\.|^order\.paid$|^customer\.deleted$/;

/**
 * Applies stored deliveries. The name of a type decides nothing but which facts it carries: what counts is the snapshot
 * in it and when it was taken, so late, early and repeated deliveries end in the same state.
 */
@Injectable()
export class WebhookApplier implements OnModuleInit {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly jobs: Jobs,
    private readonly accounts: BillingAccounts,
    private readonly customers: CustomerSync,
    private readonly catalogue: Catalogue,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  onModuleInit(): void {
    this.jobs.handle<{ id: string }>(APPLY_JOB, ({ id }) => this.apply(id));
  }

  private async apply(id: string): Promise<void> {
    const event = await this.db.findOneBy(BillingEvent, { id, status: 'received' });
    if (!event?.payload) return;
    const envelope = envelopeSchema.parse(JSON.parse(event.payload));
    if (!ABOUT_CUSTOMERS.test(event.type)) {
      await this.finish(id, { status: 'ignored' });
      return;
    }
    const userId = await this.userOf(event, envelope);
    if (userId === null) {
      await this.finish(id, { status: 'unlinked' });
      return;
    }
    try {
      await this.accounts.change(userId, async (account, tx) => {
        const status = await this.note(account, event, envelope, tx);
        if (HINTS.test(event.type))
          await this.accounts.syncAt(userId, new Date(this.clock.nowMs() + ASK_AFTER_MS), tx);
        await this.finish(id, { status, userId }, tx);
      });
    } catch (error) {
      // It says what it said: another try would find the same. Anything else is tried again.
      if (!(error instanceof ZodError)) throw error;
      this.log.error({ event_id: id, type: event.type, err: error }, 'billing event not as documented');
      const failed = { status: 'failed', userId, error: error.message.slice(0, ERROR_CHARS_MAX) } as const;
      await this.db.transaction((tx) => this.finish(id, failed, tx));
    }
  }

  /** An e-mail address or metadata never say whose an event is: whoever buys chooses them. */
  private async userOf(
    { polarCustomerId, type }: BillingEvent,
    { data }: PolarEnvelope,
  ): Promise<string | null> {
    const about = aboutCustomerSchema.safeParse(data).data;
    const external = type.startsWith('customer.')
      ? about?.external_id
      : (about?.customer?.external_id ?? about?.external_customer_id);
    if (isUUID(external) && (await this.db.existsBy(User, { id: String(external) }))) return String(external);
    if (polarCustomerId === null) return null;
    return (await this.db.findOneBy(BillingAccount, { polarCustomerId }))?.userId ?? null;
  }

  private async note(
    account: BillingAccount,
    { type, polarCustomerId }: BillingEvent,
    { data, timestamp }: PolarEnvelope,
    tx: EntityManager,
  ): Promise<BillingEventStatus> {
    const atUs = microseconds(timestamp);
    if (polarCustomerId !== null && account.polarCustomerId === null) {
      await this.accounts.noteCustomer(account, polarCustomerId, tx);
      await releaseUnlinked(polarCustomerId, this.jobs, tx);
    }
    if (type.startsWith('subscription.')) {
      const facts = { ...this.catalogue.factsOf(subscriptionSchema.parse(data)), atUs };
      return (await this.accounts.noteSubscription(account, facts, tx)) ? 'processed' : 'stale';
    }
    if (type === 'customer.state_changed' || type === 'customer.deleted') {
      const state = type === 'customer.deleted' ? null : customerStateSchema.parse(data);
      return (await this.customers.noteState(account, state, atUs, tx)) ? 'processed' : 'stale';
    }
    if (type.startsWith('checkout.') && checkoutStatusSchema.parse(data).status !== 'open')
      await tx.delete(PolarCheckoutRow, { userId: account.userId });
    return 'processed';
  }

  /** With the account locked: what comes of a person while he is erased, or later, is not kept either. */
  private async finish(
    id: string,
    outcome: { status: BillingEventStatus; userId?: string; error?: string },
    tx: EntityManager = this.db,
  ): Promise<void> {
    const user = outcome.userId === undefined ? null : await lockUser(outcome.userId, tx);
    const erased = user && isErased(user) ? { payload: null } : {};
    await tx.update(BillingEvent, { id, status: 'received' }, { ...outcome, ...erased });
  }
}
