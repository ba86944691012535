import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Job, JobResult, PgBoss, QueueOptions } from 'pg-boss';
import type { Logger } from 'pino';
import { DataSource, type EntityManager } from 'typeorm';
import { LOG } from '../../common/log-token';
import { afterCommit } from '../transactions/after-commit';
import { createBoss, inTransaction } from './pg-boss';

/** What a job is about: ids, and nothing that must not stand in a table. */
export type JobData = Readonly<Record<string, unknown>>;

/** Does one job. After a failure or a crash it is called again with the same `jobId`, so it must bear that. */
export type JobHandler<Data extends JobData> = (data: Data, jobId: string) => Promise<void>;

export interface JobOptions {
  /** Jobs of this name that one process takes at a time, 2 or more; it takes the next when all of them have ended. */
  readonly parallelMax: number;
  /** A run that takes longer is given up, and tried again. */
  readonly timeoutSeconds: number;
  /** How often a failed job is tried again; the gaps begin at `retryGapSeconds` and double up to `retryGapMaxSeconds`. */
  readonly retriesMax: number;
  readonly retryGapSeconds: number;
  readonly retryGapMaxSeconds: number;
}

/** Thirty-three tries in about a day: six in the first five minutes, then fewer and fewer, then one an hour. */
const DEFAULTS: JobOptions = {
  parallelMax: 5,
  timeoutSeconds: 300,
  retriesMax: 32,
  retryGapSeconds: 10,
  retryGapMaxSeconds: 3_600,
};

/** A worker is woken by what its own process sends; this is for retries, and for what other processes left. */
const POLL_SECONDS = 2;
/** A job whose process is gone is taken up again after so long. */
const HEARTBEAT_SECONDS = 30;
const SUPERVISION_SECONDS = 30;
const FINISHED_KEPT_SECONDS = 3_600;
const CLEANUP_SECONDS = 600;
const DRAIN_MAX_MS = 10_000;
/** No job has this id. */
const NIL_ID = '00000000-0000-0000-0000-000000000000';

interface Kind {
  readonly handler: JobHandler<JobData>;
  readonly options: JobOptions;
}

/**
 * Work that is done behind the answer: kept in PostgreSQL by the transaction that asks for it, so it is done if and
 * only if that commits, by whichever process is free, again after a failure, and also after a restart.
 */
@Injectable()
export class Jobs implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly boss: PgBoss;
  private readonly kinds = new Map<string, Kind>();
  private readonly workers = new Map<string, string>();

  constructor(
    dataSource: DataSource,
    @Inject(LOG) private readonly log: Logger,
  ) {
    this.boss = createBoss(dataSource, {
      superviseIntervalSeconds: SUPERVISION_SECONDS,
      monitorIntervalSeconds: SUPERVISION_SECONDS,
      maintenanceIntervalSeconds: CLEANUP_SECONDS,
      // Jobs here never wait for other jobs.
      flowIntervalSeconds: CLEANUP_SECONDS,
    });
    this.boss.on('error', ({ message }) => {
      this.log.error({ reason: message }, 'job queue failed');
    });
    this.boss.on('warning', ({ message }) => {
      this.log.warn({ reason: message }, 'job queue');
    });
  }

  /** Says who does the jobs of a name; to be called while modules are initialised. */
  handle<Data extends JobData>(
    name: string,
    handler: JobHandler<Data>,
    options: Partial<JobOptions> = {},
  ): void {
    if (this.kinds.has(name)) throw new Error(`The jobs "${name}" have a handler already.`);
    this.kinds.set(name, { handler: handler as JobHandler<JobData>, options: { ...DEFAULTS, ...options } });
  }

  /** Asks for a job: it is done once `tx` has committed and the delay is over, and never when it has not. */
  async send(name: string, data: JobData, tx: EntityManager, delaySeconds = 0): Promise<void> {
    await this.boss.send(name, data, { db: inTransaction(tx), startAfter: delaySeconds });
    afterCommit(tx, () => {
      this.wake(name);
    });
  }

  /** Asks for many jobs of a name at once, as {@link send} does for one. */
  async sendAll(name: string, data: readonly JobData[], tx: EntityManager): Promise<void> {
    if (data.length === 0) return;
    const jobs = data.map((one) => ({ data: one }));
    await this.boss.insert(name, jobs, { db: inTransaction(tx) });
    afterCommit(tx, () => {
      this.wake(name);
    });
  }

  /** Deletes the jobs about an account that have ended: until then they say what was asked for, and from where. */
  async eraseEnded(userId: string, tx: EntityManager): Promise<void> {
    await tx.query(
      `DELETE FROM pgboss.job WHERE state IN ('completed', 'cancelled', 'failed') AND data->>'userId' = $1`,
      [userId],
    );
  }

  /** Starts the workers, now that every module has said what it handles. */
  async onApplicationBootstrap(): Promise<void> {
    await this.boss.start();
    for (const [name, kind] of this.kinds) await this.startWorker(name, kind);
  }

  /** Lets the jobs under way finish; what does not in time is tried again by another process, or after the restart. */
  async onApplicationShutdown(): Promise<void> {
    const finished = Promise.all([...this.workers.keys()].map((name) => this.boss.offWork(name)));
    await Promise.race([finished, delay(DRAIN_MAX_MS, undefined, { ref: false })]);
    await this.boss.stop({ graceful: false });
  }

  private async startWorker(name: string, { handler, options }: Kind): Promise<void> {
    const queue = queueOptions(options);
    await this.boss.createQueue(name, queue);
    // It may have been made by an earlier version.
    await this.boss.updateQueue(name, queue);
    // Has pg-boss remember the queue, or the first `send` would ask for it on a second connection, within a transaction.
    await this.boss.findJobs(name, { id: NIL_ID });

    const worker = await this.boss.work(
      name,
      {
        batchSize: options.parallelMax,
        burstWhenBatchFull: true,
        perJobResults: true,
        pollingIntervalSeconds: POLL_SECONDS,
      },
      (jobs: Job<JobData>[]) => Promise.all(jobs.map((job) => this.run(job, handler))),
    );
    this.workers.set(name, worker);
  }

  /** Nothing of an error is stored with its job: it may quote what the job worked on. */
  private async run(
    { id, name, data, retryCount }: Job<JobData>,
    handler: JobHandler<JobData>,
  ): Promise<JobResult> {
    try {
      await handler(data, id);
      return { id, status: 'completed' };
    } catch (error) {
      this.log.error({ job: name, job_id: id, attempt: retryCount + 1, err: error }, 'job failed');
      return { id, status: 'failed' };
    }
  }

  private wake(name: string): void {
    const worker = this.workers.get(name);
    if (worker) this.boss.notifyWorker(worker);
  }
}

function queueOptions(options: JobOptions): QueueOptions {
  return {
    expireInSeconds: options.timeoutSeconds,
    heartbeatSeconds: HEARTBEAT_SECONDS,
    retryLimit: options.retriesMax,
    retryBackoff: true,
    retryDelay: options.retryGapSeconds,
    retryDelayMax: options.retryGapMaxSeconds,
    deleteAfterSeconds: FINISHED_KEPT_SECONDS,
  };
}
