import type { ApiError, ErrorFactory } from '../common/api-error';
import { isLate, REQUEST_STATEMENT_MS_MAX, withStatementLimit } from '../platform/database/statement-limits';

const BATCH_MAX = 500;
/** So many need not wait for the end of their turn of the event loop: the database works while the others come. */
const FIRST_BATCH = 16;
/**
 * Of up to twice as many a batch in halves takes so many: in smaller ones the statement itself would cost more than its
 * items. Of more it takes all, for then the others are many as well.
 */
const HALF = 32;
const QUEUE_MAX = 10_000;
/** So long a request may have waited that waits for one statement more. */
const WAITING_MS_MAX = 400;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly addedMs: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Lets items that come together share one statement: while one batch is on its way, the next one gathers. So the
 * number of statements hardly grows with the load. Whoever adds an item waits for its own batch.
 */
export class GroupCommit<Item, Result = void> {
  private queue: Waiting<Item, Result>[] = [];
  private writing: Promise<void> | undefined;
  private begin: () => void = () => undefined;

  /**
   * @param write writes a batch and answers with a result for each item, in their order.
   * @param isItemsFault whether an error says that an item cannot be written, rather than that nothing can.
   * @param busyError refuses what the queue has no room for, until a second later.
   * @param inHalves whether those who wait are to fall into two groups of one size: while the database writes the one,
   * this process answers the other.
   */
  constructor(
    private readonly write: (items: readonly Item[]) => Promise<readonly Result[]>,
    private readonly isItemsFault: (error: unknown) => boolean,
    private readonly busyError: ErrorFactory<[]>,
    private readonly inHalves = false,
  ) {}

  /** How many items wait for their batch. */
  get waiting(): number {
    return this.queue.length;
  }

  /**
   * Resolves once the item is committed.
   * @throws ApiError the busy error when the queue is full; nothing is written then.
   */
  add(item: Item): Promise<Result> {
    if (this.queue.length >= QUEUE_MAX) return Promise.reject(this.busy());
    return this.enqueue(item);
  }

  /**
   * Adds items that come together: all of them, or none.
   * @returns what became of each, once all are committed or refused.
   * @throws ApiError the busy error when the queue has no room for all.
   */
  async addAll(items: readonly Item[]): Promise<PromiseSettledResult<Result>[]> {
    if (this.queue.length + items.length > QUEUE_MAX) throw this.busy();
    return Promise.allSettled(items.map((item) => this.enqueue(item)));
  }

  /** Resolves when everything that was added is written or has failed. */
  async drained(): Promise<void> {
    await this.writing;
  }

  private enqueue(item: Item): Promise<Result> {
    const addedMs = performance.now();
    const committed = new Promise<Result>((resolve, reject) =>
      this.queue.push({ item, addedMs, resolve, reject }),
    );
    this.writing ??= this.writeAll();
    if (this.queue.length === FIRST_BATCH) this.begin();
    return committed;
  }

  private async writeAll(): Promise<void> {
    // Lets the calls of this turn of the event loop share the first batch.
    await new Promise<void>((resolve) => {
      this.begin = resolve;
      setImmediate(resolve);
    });
    while (this.queue.length > 0) {
      const batchMax = this.inHalves && this.queue.length <= 2 * HALF ? HALF : BATCH_MAX;
      await this.writeBatch(this.queue.splice(0, batchMax));
    }
    this.writing = undefined;
  }

  /** An item that the database refuses must not take its neighbours down: the batch is halved until it stands alone. */
  private async writeBatch(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      // Requests wait for it, also for a batch that work behind the answers has begun.
      const results = await withStatementLimit(REQUEST_STATEMENT_MS_MAX, () =>
        this.write(batch.map(({ item }) => item)),
      );
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (batch.length === 1 || !this.isItemsFault(error)) {
        for (const { reject } of batch) reject(error);
        if (isLate(error)) this.refuseWaiting(error);
        return;
      }
      const middle = Math.ceil(batch.length / 2);
      await this.writeBatch(batch.slice(0, middle));
      await this.writeBatch(batch.slice(middle));
    }
  }

  /** Refuses who has waited behind a batch that was given up: with the next one it could become twice as long. */
  private refuseWaiting(error: unknown): void {
    const sinceMs = performance.now() - WAITING_MS_MAX;
    const late = this.queue.filter(({ addedMs }) => addedMs < sinceMs);
    this.queue = this.queue.slice(late.length);
    for (const { reject } of late) reject(error);
  }

  private busy(): ApiError {
    return this.busyError.with({ retryAfterSeconds: 1 });
  }
}
