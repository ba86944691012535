import type { Caps, Most } from './caps';
import type { Draw } from './close-statement';
import type { Holds } from './holds';
import type { Lease } from './lease';
import { Leases } from './leases';
import type { Opening } from './open-statement';

const CAPS: Caps = { apiKeyUsd: 1_000_000n, accountUsd: null, tokens: 5_000n };
const MOST: Most = { tokens: 10n, costNanoUsd: 100n };
const NOW_MS = Date.parse('2026-11-15T12:00:00Z');

describe('leases', () => {
  let nowMs: number;
  let asked: Opening[];
  let released: Opening[];
  let parts: Draw[];
  let isRoom: boolean;
  let leases: Leases;
  beforeEach(() => {
    nowMs = 10_000;
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
    [asked, released, parts, isRoom] = [[], [], [], true];
    const holds: Pick<Holds, 'openAhead' | 'release' | 'releasePart'> = {
      openAhead: (opening) => {
        asked.push(opening);
        return Promise.resolve(isRoom);
      },
      release: (hold) => {
        released.push(hold as Opening);
        return Promise.resolve();
      },
      releasePart: (part) => {
        parts.push(part);
        return Promise.resolve();
      },
    };
    leases = new Leases(holds as Holds);
  });
  afterEach(async () => {
    await leases.onApplicationShutdown();
    jest.restoreAllMocks();
  });

  const call = (fields: Partial<Opening> = {}): Opening => ({
    id: 'call',
    userId: 'user',
    apiKeyId: 'key',
    month: '2026-11-01',
    most: MOST,
    caps: CAPS,
    expiresAt: new Date(NOW_MS),
    ...fields,
  });
  const drawTimes = (times: number): Lease[] =>
    Array.from({ length: times }, () => leases.draw(call())).filter((lease) => lease !== null);
  const answered = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const makeLease = async (): Promise<void> => {
    drawTimes(8);
    await answered();
  };

  it('asks for room for eight calls when the eighth of a key finds none, and only where 64 times as much is left', async () => {
    expect(drawTimes(7)).toEqual([]);
    expect(asked).toEqual([]);
    expect(drawTimes(3)).toEqual([]);
    expect(asked).toEqual([
      {
        ...call(),
        id: expect.any(String) as string,
        most: { tokens: 80n, costNanoUsd: 800n },
        caps: { apiKeyUsd: 1_000_000n - 63n * 800n, accountUsd: null, tokens: 5_000n - 63n * 80n },
        expiresAt: new Date(NOW_MS + 1_000),
      },
    ]);
    expect(asked[0]?.id).not.toBe('call');
    await answered();
    expect(leases.draw(call({ apiKeyId: 'another key' }))).toBeNull();
    expect(drawTimes(1)).toMatchObject([{ hold: { id: asked[0]?.id, most: asked[0]?.most, caps: CAPS } }]);
  });

  it('is drawn on for as much as it holds, and for what calls leave of it', async () => {
    await makeLease();
    isRoom = false;
    const drawn = drawTimes(9);
    expect(drawn).toHaveLength(8);
    const write = jest.fn(() => Promise.resolve());
    await drawn[0]?.settle(MOST, { tokens: 4n, costNanoUsd: 70n }, write);
    expect(write).toHaveBeenCalledWith({
      hold: drawn[0]?.hold,
      taken: { tokens: 4n, costNanoUsd: 70n },
    });
    expect(leases.draw(call({ most: { tokens: 6n, costNanoUsd: 31n } }))).toBeNull();
    expect(leases.draw(call({ most: { tokens: 7n, costNanoUsd: 30n } }))).toBeNull();
    expect(leases.draw(call({ most: { tokens: 6n, costNanoUsd: 30n } }))).not.toBeNull();
    drawn[1]?.giveBack(MOST);
    expect(drawTimes(2)).toHaveLength(1);
  });

  it('takes off its hold no more than a call could consume', async () => {
    await makeLease();
    const write = jest.fn(() => Promise.resolve());
    await drawTimes(1)[0]?.settle(MOST, { tokens: 11n, costNanoUsd: 101n }, write);
    expect(write).toHaveBeenCalledWith(expect.objectContaining({ taken: MOST }));
  });

  it('keeps all that a call could consume whose line may be there or not', async () => {
    await makeLease();
    isRoom = false;
    const [first] = drawTimes(8);
    const lost = (): Promise<void> => Promise.reject(new Error('Connection terminated'));
    await expect(first?.settle(MOST, { tokens: 0n, costNanoUsd: 0n }, lost)).rejects.toThrow('terminated');
    expect(drawTimes(1)).toEqual([]);
  });

  it.each<[string, Partial<Opening>]>([
    ['with another cap', { caps: { ...CAPS, apiKeyUsd: 999_999n } }],
    ['with a cap of the account', { caps: { ...CAPS, accountUsd: 1_000_000n } }],
    ['with another quota', { caps: { ...CAPS, tokens: null } }],
    ['of another month', { month: '2026-12-01' }],
    ['that may last longer than its hold', { expiresAt: new Date(NOW_MS + 1_001) }],
    ['of no key', { apiKeyId: null }],
  ])('is not drawn on by a call %s', async (_, fields) => {
    await makeLease();
    expect(leases.draw(call(fields))).toBeNull();
    expect(leases.draw(call())).not.toBeNull();
  });

  it('is drawn on for a second, and let go of when no call is under way', async () => {
    await makeLease();
    nowMs += 999;
    const [last] = drawTimes(1);
    isRoom = false;
    nowMs += 1;
    expect(drawTimes(1)).toEqual([]);
    leases.sweep();
    expect(released).toEqual([]);
    last?.giveBack(MOST);
    expect(released).toMatchObject([{ id: asked[0]?.id }]);
    leases.sweep();
    expect(released).toHaveLength(1);
  });

  it('holds, once it is over, no more than the calls under way may consume', async () => {
    await makeLease();
    const [long, failing, written] = drawTimes(3);
    let commit: () => void = () => undefined;
    const settled = written?.settle(
      MOST,
      { tokens: 4n, costNanoUsd: 70n },
      () => new Promise((end) => (commit = end)),
    );
    nowMs += 1_000;
    leases.sweep();
    const hold = { id: asked[0]?.id };
    expect(parts).toMatchObject([{ hold, taken: { tokens: 50n, costNanoUsd: 500n } }]);
    failing?.giveBack(MOST);
    expect(parts.slice(1)).toMatchObject([{ hold, taken: MOST }]);
    commit();
    await settled;
    expect(parts.slice(2)).toMatchObject([{ hold, taken: { tokens: 6n, costNanoUsd: 30n } }]);
    expect(released).toEqual([]);
    const write = jest.fn(() => Promise.resolve());
    await long?.settle(MOST, { tokens: 4n, costNanoUsd: 70n }, write);
    expect(write).toHaveBeenCalledWith(
      expect.objectContaining({ hold: expect.objectContaining(hold) as Opening, taken: MOST }),
    );
    expect(parts).toHaveLength(3);
    expect(released).toMatchObject([hold]);
  });

  it('is followed by the next one in time, twice as large where it was used up, half as large where it was hardly used', async () => {
    const sizeOfNext = async (): Promise<bigint | undefined> => {
      await answered();
      return asked.at(-1)?.most.tokens;
    };
    await makeLease();
    drawTimes(6);
    expect(await sizeOfNext()).toBe(160n);
    nowMs += 499;
    drawTimes(1);
    expect(asked).toHaveLength(2);
    nowMs += 1;
    drawTimes(3);
    expect(await sizeOfNext()).toBe(160n);
    nowMs += 500;
    drawTimes(1);
    expect(await sizeOfNext()).toBe(80n);
    expect(asked).toHaveLength(4);
    // The first is still drawn on.
    expect(released).toHaveLength(0);
  });

  it('is asked for half as many calls after a refusal, down to eight, and up again some time later', async () => {
    const drawAndWait = async (times: number): Promise<(bigint | undefined)[]> => {
      const before = asked.length;
      for (let i = 0; i < times; i++) {
        drawTimes(1);
        await answered();
      }
      return asked.slice(before).map(({ most }) => most.tokens / MOST.tokens);
    };
    await makeLease();
    expect(await drawAndWait(5)).toEqual([16n]);
    isRoom = false;
    expect(await drawAndWait(30)).toEqual([32n, 16n, 8n]);
    leases.sweep();
    isRoom = true;
    expect(await drawAndWait(1)).toEqual([32n]);
  });

  it('is not asked for where calls are few', () => {
    for (let sweep = 0; sweep < 5; sweep++) {
      drawTimes(7);
      leases.sweep();
    }
    expect(asked).toEqual([]);
  });

  it('is let go of when the service ends, also one that was being asked for', async () => {
    drawTimes(8);
    await leases.onApplicationShutdown();
    expect(released).toMatchObject([{ id: asked[0]?.id }]);
  });
});
