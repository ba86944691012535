/** How long something read from the database is believed; what S of "refused within a second" promises. */
const BELIEVED_MS = 1_000;
/** Who asks for something that was read so long ago has it read again, lest others wait for that when the second is over. */
const RENEWED_MS = 600;
/** What is to be read again gathers so long for one statement. */
const RENEWAL_MS = 100;
const ENTRIES_MAX = 100_000;

interface Entry<V> {
  readonly value: V;
  /** When the read began: what was true before it is not older than this. */
  readonly readAtMs: number;
}

interface Batch<V> {
  readonly keys: Set<string>;
  readonly result: Promise<ReadonlyMap<string, V>>;
}

/**
 * A cache that is never more than a second behind the database, over any number of processes: an entry is believed for
 * one second, then read again, all keys that are asked for in one turn of the event loop by one statement; what goes on
 * being asked for is read again before its second is over. The process that changes something evicts it at once. What
 * does not exist is not remembered.
 */
export class OneSecondCache<V> {
  private readonly entries = new Map<string, Entry<V>>();
  private gathering: Batch<V> | undefined;
  private readonly due = new Set<string>();
  private renewal: NodeJS.Timeout | undefined;
  /** Counts evictions: a read that began before one must not bring the old value back. */
  private evictions = 0;

  /**
   * @param read gives the values of the keys that exist, in one statement.
   * @param nowMs the time in milliseconds.
   */
  constructor(
    private readonly read: (keys: readonly string[]) => Promise<ReadonlyMap<string, V>>,
    private readonly nowMs: () => number,
  ) {}

  /** The value of a key as it was at most one second ago, or undefined when it does not exist. */
  async get(key: string): Promise<V | undefined> {
    const entry = this.entries.get(key);
    const ageMs = entry ? this.nowMs() - entry.readAtMs : Infinity;
    if (entry && ageMs >= 0 && ageMs < BELIEVED_MS) {
      if (ageMs >= RENEWED_MS) this.renewSoon(key);
      return entry.value;
    }
    this.gathering ??= this.gather();
    this.gathering.keys.add(key);
    return (await this.gathering.result).get(key);
  }

  /** Forgets a key that has just changed; call it after the commit. */
  evict(key: string): void {
    this.evictions += 1;
    this.entries.delete(key);
  }

  /** Forgets every value that the change touched. */
  evictWhere(isTouched: (value: V) => boolean): void {
    this.evictions += 1;
    for (const [key, { value }] of this.entries) if (isTouched(value)) this.entries.delete(key);
  }

  private gather(): Batch<V> {
    const keys = new Set<string>();
    const read = async (): Promise<ReadonlyMap<string, V>> => {
      await new Promise((resolve) => setImmediate(resolve));
      // Whoever asks from now on belongs to the next batch: this one may miss what he has just written.
      this.gathering = undefined;
      return this.readBatch([...keys]);
    };
    return { keys, result: read() };
  }

  private renewSoon(key: string): void {
    this.due.add(key);
    this.renewal ??= setTimeout(() => void this.renew(), RENEWAL_MS).unref();
  }

  private async renew(): Promise<void> {
    // One that was read or evicted meanwhile is not due any more.
    const keys = [...this.due].filter((key) => {
      const entry = this.entries.get(key);
      return entry && this.nowMs() - entry.readAtMs >= RENEWED_MS;
    });
    this.due.clear();
    // What fails here is told to whoever asks when the second is over.
    if (keys.length > 0) await this.readBatch(keys).catch(() => undefined);
    // Not earlier: while the database is slow, one such read at a time is enough.
    this.renewal = undefined;
  }

  private async readBatch(keys: readonly string[]): Promise<ReadonlyMap<string, V>> {
    const readAtMs = this.nowMs();
    const evictionsBefore = this.evictions;
    const values = await this.read(keys);
    if (this.evictions === evictionsBefore)
      for (const [key, value] of values) this.remember(key, { value, readAtMs });
    return values;
  }

  /** The oldest reads make room: a Map keeps the order of insertion. Of two reads the one that began later is believed. */
  private remember(key: string, entry: Entry<V>): void {
    const known = this.entries.get(key);
    // One from the future is of before the clock was set back.
    if (known && known.readAtMs > entry.readAtMs && known.readAtMs <= this.nowMs()) return;
    this.entries.delete(key);
    this.entries.set(key, entry);
    if (this.entries.size > ENTRIES_MAX) {
      const [oldest] = this.entries.keys();
      if (oldest !== undefined) this.entries.delete(oldest);
    }
  }
}
