import { randomUUID } from 'node:crypto';
import { RedisWindows } from '../../src/limits/redis-windows';
import type { Claim, PolicyName } from '../../src/limits/policies';
import { parseRedisUrl } from '../../src/config/redis-url';
import { RedisConnection } from '../../src/platform/redis/redis-connection';
import { describeWithRedis, RedisServer } from './support/redis-server';
import { freePort, until } from './support/service-process';

const TIMEOUT_MS = 10_000;

describeWithRedis('windows in Redis', () => {
  let server: RedisServer;
  let redis: RedisConnection;
  let windows: RedisWindows;

  beforeAll(async () => {
    server = await RedisServer.start();
    const address = parseRedisUrl(server.url);
    if (!address) throw new Error('The address of the test server is not read.');
    redis = new RedisConnection(address, TIMEOUT_MS);
    await redis.firstTry();
    windows = new RedisWindows(redis);
  });
  afterAll(async () => {
    redis.end();
    await server.end();
  });

  const claim = (limit: number, windowMs = 60_000, policy: PolicyName = 'api-key'): Claim => ({
    policy,
    key: randomUUID(),
    limit,
    windowMs,
  });
  const takeMany = async (claims: readonly Claim[], times: number): Promise<number> => {
    const decisions = await Promise.all(Array.from({ length: times }, () => windows.take(claims)));
    return decisions.filter(({ refused }) => !refused).length;
  };
  const keyOf = ({ policy, key }: Claim): string => `cortex-auth:limits:${policy}:${key}`;

  it('R26: accept exactly the limit of ten times as many at once', async () => {
    for (const limit of [1, 7, 100]) expect(await takeMany([claim(limit)], 10 * limit)).toBe(limit);
  });

  it('R26: accept exactly the limit above 10,000, in at most 1,001 moments', async () => {
    const large = claim(20_000);
    expect(await takeMany([large], 25_000)).toBe(20_000);
    expect(await server.client.llen(keyOf(large))).toBeLessThanOrEqual(2 * 1_001 + 1);
  });

  it('R26: refuse everything at a limit of zero, and bear the greatest', async () => {
    expect((await windows.take([claim(0)])).refused).toMatchObject({ waitMs: 60_000 });
    const { states } = await windows.take([claim(2 ** 31 - 1)]);
    expect(states[0]).toMatchObject({ waitMs: 0, remaining: 2 ** 31 - 2 });
  });

  it('T29: take nothing of any policy when one refuses', async () => {
    const [wide, narrow] = [claim(100), claim(3, 60_000, 'plan-hour')];
    expect(await takeMany([wide, narrow], 50)).toBe(3);
    const { states, refused } = await windows.take([wide, narrow]);
    expect(refused?.claim).toBe(narrow);
    expect(states.map(({ remaining }) => remaining)).toEqual([97, 0]);
    expect(states.map(({ waitMs }) => waitMs > 0)).toEqual([false, true]);
  });

  it('take several places at once, all or none, and say when as many are free', async () => {
    const tokens: Claim = { ...claim(3_000, 400), places: 1_000 };
    expect(await takeMany([tokens], 10)).toBe(3);
    expect((await windows.take([{ ...tokens, places: 0 }])).states[0]).toMatchObject({
      waitMs: 0,
      remaining: 0,
    });
    const { refused } = await windows.take([tokens]);
    await new Promise((resolve) => setTimeout(resolve, refused?.waitMs));
    expect((await windows.take([{ ...tokens, places: 3_001 }])).refused).toMatchObject({ waitMs: 400 });
    expect(await takeMany([{ ...tokens, places: 1 }], 2)).toBe(2);
    const { states } = await windows.take([{ ...tokens, places: 998 }]);
    expect(states[0]).toMatchObject({ waitMs: 0, remaining: 2_000 });
  });

  it('take nothing for a claim that only looks, which refuses all the same', async () => {
    const taken = claim(2);
    const looked: Claim = { ...taken, onlyLook: true };
    expect(await takeMany([looked], 10)).toBe(10);
    await takeMany([taken], 2);
    const other = claim(5);
    expect((await windows.take([other, looked])).refused?.claim).toBe(looked);
    expect((await windows.take([other])).states[0]?.remaining).toBe(4);
  });

  it('say when a place frees, and free it then', async () => {
    const short = claim(2, 300);
    await takeMany([short], 2);
    for (;;) {
      const { refused, states } = await windows.take([short]);
      if (!refused) break;
      expect(refused.waitMs).toBeGreaterThan(0);
      expect(refused.waitMs).toBeLessThanOrEqual(300);
      expect(states[0]?.resetMs).toBe(refused.waitMs);
      await new Promise((resolve) => setTimeout(resolve, refused.waitMs));
    }
  });

  it('obey a lowered limit at once, and know when enough has left', async () => {
    const high = claim(100);
    await windows.add(
      [{ name: `api-key:${high.key}`, windowMs: 60_000, moments: agesFrom(50, 1_000) }],
      50_000,
    );
    // Taken 50 s, 49 s ... 1 s ago: of 50, the 49th frees when the second to last leaves.
    const { refused } = await windows.take([{ ...high, limit: 2 }]);
    expect(refused?.waitMs).toBeGreaterThan(57_000);
    expect(refused?.waitMs).toBeLessThanOrEqual(58_000);
    expect((await windows.take([high])).states[0]?.remaining).toBe(49);
  });

  it('add what was taken elsewhere between what they hold, and leave out what is too old', async () => {
    const mine = claim(100);
    const name = `api-key:${mine.key}`;
    const moments = (...ages: number[]): { atMs: number; count: number }[] =>
      ages.map((age) => ({ atMs: 100_000 - age, count: 2 }));
    await windows.add([{ name, windowMs: 60_000, moments: moments(70_000, 50_000, 10_000) }], 100_000);
    await windows.take([mine]);
    await windows.add([{ name, windowMs: 60_000, moments: moments(30_000) }], 100_000);
    const { states } = await windows.take([mine]);
    expect(states[0]?.remaining).toBe(100 - 2 * 3 - 2);
    expect(states[0]?.resetMs).toBeGreaterThan(9_000);
    expect(states[0]?.resetMs).toBeLessThanOrEqual(10_000);
    const held = (await server.client.lrange(keyOf(mine), 0, -1)).map(Number);
    const at = (parity: number): number[] => held.filter((_, i) => i % 2 === parity);
    for (const list of [at(0), at(1)]) expect(list).toEqual([...list].sort((a, b) => a - b));
  });

  it('add more moments than one script takes', async () => {
    const mine = claim(10_000);
    const places = [{ name: `api-key:${mine.key}`, windowMs: 60_000, moments: agesFrom(4_500, 10) }];
    await windows.add(places, 45_000);
    expect((await windows.take([mine])).states[0]?.remaining).toBe(10_000 - 4_501);
  });

  it('R29: lock nobody out when the clock of Redis steps back by an hour, and keep the gaps between places', async () => {
    const mine = claim(3);
    const [seconds = 0] = (await server.client.time()).map(Number);
    const newest = (seconds + 3_600) * 1_000;
    await server.client.rpush(keyOf(mine), 0, newest - 20_000, 1, newest, 3);
    const { refused } = await windows.take([mine]);
    expect(refused?.waitMs).toBeGreaterThan(39_000);
    expect(refused?.waitMs).toBeLessThanOrEqual(40_000);
    expect((await windows.take([{ ...mine, limit: 2 }])).refused?.waitMs).toBeLessThanOrEqual(60_000);
    expect(await server.client.pttl(keyOf(mine))).toBeGreaterThan(58_000);
    expect((await windows.take([{ ...mine, limit: 4 }])).states[0]).toMatchObject({
      waitMs: 0,
      remaining: 0,
    });

    const other = claim(3);
    await server.client.rpush(keyOf(other), 0, newest, 1);
    await windows.add(
      [{ name: `api-key:${other.key}`, windowMs: 60_000, moments: [{ atMs: 90_000, count: 2 }] }],
      100_000,
    );
    const full = (await windows.take([other])).refused;
    expect(full?.waitMs).toBeGreaterThan(48_000);
    expect(full?.waitMs).toBeLessThanOrEqual(50_000);
  });

  it('are forgotten by Redis when nothing is taken any more', async () => {
    const mine = claim(5);
    await windows.take([mine]);
    expect(await server.client.pttl(keyOf(mine))).toBeGreaterThan(59_000);
    expect(await server.client.pttl(keyOf(mine))).toBeLessThanOrEqual(60_001);
  });

  it('are found through Sentinels, also when the first of them is gone', async () => {
    const sentinel = await RedisServer.startSentinel(server);
    const nowhere = `127.0.0.1:${await freePort()}`;
    const address = parseRedisUrl(`redis+sentinel://${nowhere},127.0.0.1:${sentinel.port}/main/1`);
    const behind = new RedisConnection(address ?? { servers: [], db: 0, tls: false }, TIMEOUT_MS);
    try {
      await behind.firstTry();
      const mine = claim(5);
      expect((await new RedisWindows(behind).take([mine])).states[0]?.remaining).toBe(4);
      // The database of the URL, not the first.
      expect(await server.client.exists(keyOf(mine))).toBe(0);
    } finally {
      behind.end();
      await sentinel.end();
    }
  });

  it('fail at once while there is no Redis, and work again when there is, without being asked', async () => {
    await server.kill();
    await expect(windows.take([claim(5)])).rejects.toThrow();
    await server.run();
    await until(
      () =>
        windows.take([claim(5)]).then(
          () => true,
          () => false,
        ),
      TIMEOUT_MS,
    );
  });

  it('work after Redis has forgotten the scripts', async () => {
    await server.client.script('FLUSH');
    expect(await takeMany([claim(5)], 50)).toBe(5);
  });
});

/** One place each, `count` of them so far apart, the last of them at `count * gapMs`. */
function agesFrom(count: number, gapMs: number): { atMs: number; count: number }[] {
  return Array.from({ length: count }, (_, i) => ({ atMs: i * gapMs, count: 1 }));
}
