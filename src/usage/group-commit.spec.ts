import { CommonErrors } from '../common/common.errors';
import { GroupCommit } from './group-commit';

describe('a queue of what shares statements', () => {
  it('refuses what it has no room for with the error of whoever uses it, and takes all of a list or none', async () => {
    let written = 0;
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    const queue = new GroupCommit<number>(
      async (items) => {
        await held;
        written += items.length;
        return [];
      },
      () => false,
      CommonErrors.unavailable,
    );
    const first = queue.add(0);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const taken = Array.from({ length: 9_999 }, (_, i) => queue.add(i));
    const busy = { status: 503, code: 'service_unavailable', retryAfterSeconds: 1 };
    await expect(queue.addAll([1, 2])).rejects.toMatchObject(busy);
    taken.push(queue.add(0));
    await expect(queue.add(1)).rejects.toMatchObject(busy);
    goOn();
    await Promise.all([first, ...taken]);
    expect(written).toBe(10_001);
  });

  it('lets what comes in one turn of the event loop share a batch, and does not wait for its end with sixteen', async () => {
    const sizes: number[] = [];
    const queue = new GroupCommit<number>(
      (items) => {
        sizes.push(items.length);
        return Promise.resolve([]);
      },
      () => false,
      CommonErrors.unavailable,
    );
    await Promise.all([1, 2, 3].map((item) => queue.add(item)));
    expect(sizes).toEqual([3]);
    const many = Array.from({ length: 15 }, (_, i) => queue.add(i));
    // What was begun is under way after this, and the turn has not ended.
    await new Promise((resolve) => {
      process.nextTick(resolve);
    });
    expect(sizes).toEqual([3]);
    many.push(queue.add(15));
    await new Promise((resolve) => {
      process.nextTick(resolve);
    });
    expect(sizes).toEqual([3, 16]);
    await Promise.all(many);
  });

  it.each([
    [true, 64, [32, 32]],
    [true, 65, [65]],
    [false, 64, [64]],
    [false, 1_300, [500, 500, 300]],
  ])('in halves: %s, writes %i that wait in batches of %j', async (inHalves, waiting, sizes) => {
    const batches: (readonly number[])[] = [];
    const write = (items: readonly number[]): Promise<[]> => {
      batches.push(items);
      return Promise.resolve([]);
    };
    const queue = new GroupCommit<number>(write, () => false, CommonErrors.unavailable, inHalves);
    const items = Array.from({ length: waiting }, (_, i) => i);
    await queue.addAll(items);
    expect(batches.flat()).toEqual(items);
    expect(batches.map(({ length }) => length)).toEqual(sizes);
  });

  it('refuses who has waited behind a batch that was given up, and asks again for who has just come', async () => {
    const now = jest.spyOn(performance, 'now').mockReturnValue(0);
    const batches: (readonly number[])[] = [];
    let giveUp = (): void => undefined;
    const queue = new GroupCommit<number>(
      async (items) => {
        batches.push(items);
        if (batches.length > 1) return [];
        await new Promise<void>((resolve) => (giveUp = resolve));
        throw new Error('Query read timeout');
      },
      () => false,
      CommonErrors.unavailable,
    );
    const first = queue.add(1);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const behind = queue.add(2);
    now.mockReturnValue(2_500);
    const last = queue.add(3);
    giveUp();
    await expect(first).rejects.toThrow('Query read timeout');
    await expect(behind).rejects.toThrow('Query read timeout');
    await last;
    expect(batches).toEqual([[1], [3]]);
    now.mockRestore();
  });
});
