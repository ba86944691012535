/** How long something read from the database is believed; what S of "refused within a second" promises. */
const BELIEVED_MS = 1_000;
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
 * one second, then read again, all keys that are asked for in one turn of the event loop by one statement. The process
 * that changes something evicts it at once. What does not exist is not remembered.
 */
export class OneSecondCache<V> {
  private readonly entries = new Map<string, Entry<V>>();
  private gathering: Batch<V> | undefined;
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
    if (entry && ageMs >= 0 && ageMs < BELIEVED_MS) return entry.value;
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
    return { keys, result: new Promise((resolve) => setImmediate(resolve)).then(() => this.readBatch(keys)) };
  }

  private async readBatch(keys: ReadonlySet<string>): Promise<ReadonlyMap<string, V>> {
    // Whoever asks from now on belongs to the next batch: this one may miss what he has just written.
    this.gathering = undefined;
    const readAtMs = this.nowMs();
    const evictionsBefore = this.evictions;
    const values = await this.read([...keys]);
    if (this.evictions === evictionsBefore)
      for (const [key, value] of values) this.remember(key, { value, readAtMs });
    return values;
  }

  /** The oldest reads make room: a Map keeps the order of insertion. */
  private remember(key: string, entry: Entry<V>): void {
    this.entries.delete(key);
    this.entries.set(key, entry);
    if (this.entries.size > ENTRIES_MAX) {
      const [oldest] = this.entries.keys();
      if (oldest !== undefined) this.entries.delete(oldest);
    }
  }
}
