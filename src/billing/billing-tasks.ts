import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';
import { BillingTask } from './billing-task.entity';
import { PolarClient } from './polar-client';

const TICK_MS = 1_000;
/** Whoever takes a task and dies has lost it after so long. */
const LEASE_MS = 60_000;
const DRAIN_MAX_MS = 3_000;
const ERROR_CHARS_MAX = 300;

const CLAIM_SQL = `
  INSERT INTO billing_tasks (name, due_at) VALUES ($1, $3)
  ON CONFLICT (name) DO UPDATE SET due_at = $3 WHERE billing_tasks.due_at <= $2
  RETURNING name`;

interface TaskPlan {
  readonly work: () => Promise<void>;
  /** When to do it again, asked after each run. */
  readonly next: () => Promise<Date>;
}

/**
 * Work that comes round: of several processes one does it, and when that one dies another takes over within a minute.
 * Nothing runs without `POLAR_API_KEY`.
 */
@Injectable()
export class BillingTasks implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly plans = new Map<string, TaskPlan>();
  private readonly running = new Map<string, Promise<void>>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly polar: PolarClient,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** Says what to do and when to do it again; to be called while modules are initialised. */
  define(name: string, work: () => Promise<void>, next: () => Promise<Date>): void {
    this.plans.set(name, { work, next });
  }

  onApplicationBootstrap(): void {
    if (!this.polar.isConfigured) return;
    this.timer = setInterval(() => void this.runDue(), TICK_MS).unref();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    const ended = Promise.all(this.running.values());
    await Promise.race([ended, delay(DRAIN_MAX_MS, undefined, { ref: false })]);
  }

  /** Does what is due and nobody else does; one that takes long keeps no other back. */
  async runDue(): Promise<void> {
    try {
      const now = this.clock.now();
      const tasks = await this.db.find(BillingTask, { select: { name: true, dueAt: true } });
      const waiting = new Set(tasks.filter(({ dueAt }) => dueAt > now).map(({ name }) => name));
      const due = [...this.plans.keys()].filter((name) => !waiting.has(name) && !this.running.has(name));
      await Promise.all(due.map((name) => this.begin(name)));
    } catch (error) {
      this.log.error({ err: error }, 'billing tasks not read');
    }
  }

  /** Has a task done at the next tick of any process. */
  async hurry(name: string): Promise<void> {
    await this.db.update(BillingTask, { name }, { dueAt: this.clock.now() });
  }

  private begin(name: string): Promise<void> {
    const run = this.runIfDue(name).finally(() => this.running.delete(name));
    this.running.set(name, run);
    return run;
  }

  private async runIfDue(name: string): Promise<void> {
    const plan = this.plans.get(name);
    if (!plan) return;
    try {
      const now = this.clock.now();
      const lease = new Date(now.getTime() + LEASE_MS);
      if ((await this.db.query<unknown[]>(CLAIM_SQL, [name, now, lease])).length === 0) return;
      const error = await plan.work().then(
        () => null,
        (reason: unknown) => reason as Error,
      );
      if (error) this.log.error({ task: name, err: error }, 'billing task failed');
      await this.db.update(
        BillingTask,
        { name },
        {
          dueAt: await plan.next(),
          error: error && error.message.slice(0, ERROR_CHARS_MAX),
          ...(!error && { succeededAt: this.clock.now() }),
        },
      );
    } catch (error) {
      this.log.error({ task: name, err: error }, 'billing task not run');
    }
  }
}
