import fc from 'fast-check';
import { SlidingWindow } from './sliding-window';

/** Asks for a place at each moment and gives back the moments that were accepted. */
function accepted(limit: number, windowMs: number, moments: number[]): number[] {
  const window = new SlidingWindow(windowMs);
  return moments.filter((now) => {
    const free = window.waitMs(limit, now) === 0;
    if (free) window.take(limit, now);
    return free;
  });
}

describe('SlidingWindow', () => {
  it('accepts exactly the limit of a burst', () => {
    expect(accepted(100, 1_000, Array<number>(1_000).fill(5_000))).toHaveLength(100);
  });

  it('never accepts more than the limit in any window, and decides as a plain list of moments would', () => {
    const steps = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 300 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 20 }), (gaps, limit) => {
        let now = 1_700_000_000_000;
        const moments = gaps.map((gap) => (now += gap));
        const plain: number[] = [];
        for (const moment of moments) {
          if (plain.filter((time) => time > moment - 1_000).length < limit) plain.push(moment);
        }
        expect(accepted(limit, 1_000, moments)).toEqual(plain);
      }),
    );
  });

  it('counts several places at once as a plain list of places would', () => {
    const asks = fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 12 })), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(asks, fc.integer({ min: 1, max: 10 }), (list, limit) => {
        const window = new SlidingWindow(1_000);
        let now = 1_700_000_000_000;
        let plain: number[] = [];
        for (const [gap, places] of list) {
          now += gap;
          plain = plain.filter((time) => time > now - 1_000);
          const isFree = plain.length + places <= limit;
          const waitMs = window.waitMs(limit, now, places);
          expect(waitMs === 0).toBe(isFree);
          if (isFree) {
            window.take(limit, now, places);
            plain.push(...Array<number>(places).fill(now));
          } else if (places <= limit) {
            const after = plain.filter((time) => time > now + waitMs - 1_000);
            expect(after.length + places).toBeLessThanOrEqual(limit);
          }
          expect(window.remaining(limit, now)).toBe(limit - plain.length);
        }
      }),
    );
  });

  it('never refuses a client just under the limit, over five windows', () => {
    const moments = Array.from({ length: 50 }, (_, i) => i * 101);
    expect(accepted(10, 1_000, moments)).toHaveLength(50);
  });

  it('frees a place exactly when the oldest leaves the window', () => {
    const window = new SlidingWindow(1_000);
    window.take(1, 5_000);
    expect(window.waitMs(1, 5_400)).toBe(600);
    expect(window.waitMs(1, 5_999)).toBe(1);
    expect(window.waitMs(1, 6_000)).toBe(0);
  });

  it('rounds against the caller above 10,000, and remembers at most 1,000 moments', () => {
    const limit = 20_000;
    const window = new SlidingWindow(60_000);
    let taken = 0;
    for (let now = 1; now <= 60_000; now++) {
      if (window.waitMs(limit, now) === 0) {
        window.take(limit, now);
        taken += 1;
      }
    }
    expect(taken).toBe(limit);
    expect(window.waitMs(limit, 60_001)).toBeGreaterThan(0);
    expect(window.waitMs(limit, 60_060)).toBe(0);
  });

  it('refuses everything at a limit of zero', () => {
    expect(new SlidingWindow(1_000).waitMs(0, 1)).toBe(1_000);
  });

  it('obeys a lowered limit at once', () => {
    const window = new SlidingWindow(1_000);
    for (let i = 0; i < 5; i++) window.take(10, 100 * i);
    expect(window.waitMs(2, 450)).toBe(850);
    expect(window.remaining(2, 450)).toBe(0);
  });

  it('is not confused by a clock that steps back', () => {
    expect(accepted(2, 1_000, [5_000, 4_000, 4_500, 4_999, 5_000])).toEqual([5_000, 4_000, 5_000]);
  });

  it('locks nobody out when the clock steps back by an hour, and lets no more than the limit through', () => {
    const hour = 3_600_000;
    const clock = { realMs: 2 * hour, offsetMs: 0 };
    for (const limit of [2, 20_000]) {
      const window = new SlidingWindow(60_000);
      const places = limit / 2;
      const take = (): boolean => {
        const now = clock.realMs + clock.offsetMs;
        const free = window.waitMs(limit, now, places) === 0;
        if (free) window.take(limit, now, places);
        return free;
      };
      expect([take(), take(), take()]).toEqual([true, true, false]);
      clock.realMs += 30_000;
      clock.offsetMs -= hour;
      expect(take()).toBe(false);
      expect(window.waitMs(limit, clock.realMs + clock.offsetMs)).toBeLessThanOrEqual(60_000);
      clock.realMs += 60_000;
      expect([take(), take(), take()]).toEqual([true, true, false]);
    }
  });

  it('keeps the gaps between places when the clock steps back', () => {
    const window = new SlidingWindow(60_000);
    for (const now of [100_000, 110_000, 120_000]) window.take(3, now);
    expect(window.waitMs(3, 10_000)).toBe(40_000);
    expect(window.waitMs(3, 10_000, 2)).toBe(50_000);
  });
});
