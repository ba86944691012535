import { OneSecondCache } from './one-second-cache';

/** A table, the statements that read it, and a clock. */
function setUp(rows: Record<string, string>) {
  const table = new Map(Object.entries(rows));
  const statements: string[][] = [];
  let now = 1_000_000;
  let held: Promise<void> = Promise.resolve();
  const cache = new OneSecondCache<string>(
    async (keys) => {
      statements.push([...keys]);
      const found = new Map([...table].filter(([key]) => keys.includes(key)));
      await held;
      return found;
    },
    () => now,
  );
  return {
    table,
    statements,
    cache,
    advance: (ms: number) => (now += ms),
    /** Holds every answer back until the returned function is called. */
    hold: () => {
      let release = (): void => undefined;
      held = new Promise((resolve) => (release = resolve));
      return release;
    },
  };
}

/** Resolves in the turn of the event loop in which something has come true. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

/** The same, with `a` being read again ahead: its answer is held back until `release`. */
async function renewing(rows: Record<string, string>) {
  const all = setUp(rows);
  await all.cache.get('a');
  all.advance(700);
  await all.cache.get('a');
  const release = all.hold();
  await until(() => all.statements.length === 2);
  return { ...all, release };
}

describe('OneSecondCache', () => {
  it('reads all keys of one turn with one statement, and then believes them', async () => {
    const { cache, statements } = setUp({ a: '1', b: '2' });
    expect(await Promise.all([cache.get('a'), cache.get('b'), cache.get('a')])).toEqual(['1', '2', '1']);
    expect(await cache.get('a')).toBe('1');
    expect(statements).toEqual([['a', 'b']]);
  });

  it('sees a change of another process after one second, not later', async () => {
    const { cache, table, advance } = setUp({ a: '1' });
    await cache.get('a');
    table.set('a', '2');
    advance(999);
    expect(await cache.get('a')).toBe('1');
    advance(1);
    expect(await cache.get('a')).toBe('2');
  });

  it('reads what goes on being asked for again before its second is over, many by one statement', async () => {
    const { cache, table, statements, advance } = setUp({ a: '1', b: '1', c: '1' });
    const ask = (): Promise<unknown> => Promise.all([cache.get('a'), cache.get('b')]);
    await Promise.all([ask(), cache.get('c')]);
    table.set('a', '2').set('b', '2');
    advance(600);
    expect([await ask(), await ask()]).toEqual([
      ['1', '1'],
      ['1', '1'],
    ]);
    await until(() => statements.length === 2);
    expect(await ask()).toEqual(['2', '2']);
    advance(599);
    // Nobody asked for c in time.
    expect(await Promise.all([ask(), cache.get('c')])).toEqual([['2', '2'], '1']);
    advance(1);
    expect(await cache.get('c')).toBe('1');
    expect(statements).toEqual([['a', 'b', 'c'], ['a', 'b'], ['c']]);
  });

  it('believes for no longer than its second what could not be read again', async () => {
    let now = 0;
    const read = jest.fn((keys: readonly string[]) =>
      now === 0 ? Promise.resolve(new Map(keys.map((key) => [key, '1']))) : Promise.reject(new Error('down')),
    );
    const cache = new OneSecondCache<string>(read, () => now);
    await cache.get('a');
    now = 999;
    expect(await cache.get('a')).toBe('1');
    await until(() => read.mock.calls.length === 2);
    expect(await cache.get('a')).toBe('1');
    now = 1_000;
    await expect(cache.get('a')).rejects.toThrow('down');
  });

  it('reads again ahead once at a time, however long that takes', async () => {
    const { cache, statements, advance, hold } = setUp({ a: '1' });
    await cache.get('a');
    advance(600);
    const release = hold();
    await cache.get('a');
    await until(() => statements.length === 2);
    const timers = jest.spyOn(globalThis, 'setTimeout');
    await cache.get('a');
    expect(timers).not.toHaveBeenCalled();
    release();
    await new Promise((resolve) => setImmediate(resolve));
    advance(600);
    await cache.get('a');
    expect(timers).toHaveBeenCalledTimes(1);
    timers.mockRestore();
  });

  it('does not let a late answer take the place of one that was asked for after it', async () => {
    const { cache, table, advance, hold, release } = await renewing({ a: 'old' });
    table.set('a', 'new');
    advance(300);
    hold()();
    expect(await cache.get('a')).toBe('new');
    release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await cache.get('a')).toBe('new');
  });

  it('does not let what is read again bring back what was evicted meanwhile', async () => {
    const { cache, table, release } = await renewing({ a: 'old' });
    table.set('a', 'new');
    cache.evict('a');
    release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await cache.get('a')).toBe('new');
  });

  it('sees an evicted change at once', async () => {
    const { cache, table } = setUp({ a: '1', b: '1' });
    await Promise.all([cache.get('a'), cache.get('b')]);
    table.clear();
    cache.evict('a');
    cache.evictWhere((value) => value === '1');
    expect(await Promise.all([cache.get('a'), cache.get('b')])).toEqual([undefined, undefined]);
  });

  it('does not let a read that began before an eviction bring the old value back', async () => {
    const { cache, table, hold } = setUp({ a: 'old' });
    const release = hold();
    const early = cache.get('a');
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    table.set('a', 'new');
    cache.evict('a');
    release();
    expect(await early).toBe('old');
    expect(await cache.get('a')).toBe('new');
  });

  it('does not remember what does not exist', async () => {
    const { cache, table } = setUp({});
    expect(await cache.get('a')).toBeUndefined();
    table.set('a', '1');
    expect(await cache.get('a')).toBe('1');
  });

  it('does not believe the future when the clock steps back', async () => {
    const { cache, table, advance } = setUp({ a: '1' });
    await cache.get('a');
    table.set('a', '2');
    advance(-5_000);
    expect(await cache.get('a')).toBe('2');
  });

  it('passes a failed read on, and tries again', async () => {
    let fails = true;
    const cache = new OneSecondCache<string>(
      (keys) =>
        fails ? Promise.reject(new Error('down')) : Promise.resolve(new Map(keys.map((key) => [key, '1']))),
      () => 0,
    );
    await expect(cache.get('a')).rejects.toThrow('down');
    fails = false;
    expect(await cache.get('a')).toBe('1');
  });
});
