import fc from 'fast-check';
import { bucketEdges, type Granularity, isTimeZone } from './calendar';

const HOUR_MS = 3_600_000;
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 50);

const edges = (granularity: Granularity, zone: string, from: string, to: string): string[] =>
  bucketEdges(granularity, zone, new Date(from), new Date(to)).map((edge) => edge.toISOString().slice(0, 16));

/** The local date of an instant, as `2026-11-22`. A format is dear to make, so it serves a whole span. */
const datesIn = (timeZone: string): ((ms: number) => string) => {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' });
  return (ms) => format.format(ms);
};

const zones = [
  ...Intl.supportedValuesOf('timeZone'),
  'UTC',
  'Asia/Calcutta',
  'US/Pacific',
  '+05:30',
] as const;

const anySpan = (days: number): fc.Arbitrary<[Date, Date]> =>
  fc
    .tuple(
      fc.date({ min: new Date('2001-01-01'), max: new Date('2090-01-01'), noInvalidDate: true }),
      fc.integer({ min: 1, max: days * 24 * HOUR_MS }),
    )
    .map(([from, length]) => [from, new Date(from.getTime() + length)]);

describe('bucketEdges', () => {
  it('gives full hours that hold the span', () => {
    expect(edges('hour', 'UTC', '2026-03-01T10:30:00Z', '2026-03-01T13:00:00Z')).toEqual([
      '2026-03-01T10:00',
      '2026-03-01T11:00',
      '2026-03-01T12:00',
      '2026-03-01T13:00',
    ]);
  });

  it('gives the days of the zone, those of 23 and 25 hours too', () => {
    expect(edges('day', 'Europe/Berlin', '2026-03-28T12:00:00Z', '2026-03-30T12:00:00Z')).toEqual([
      '2026-03-27T23:00',
      '2026-03-28T23:00',
      '2026-03-29T22:00',
      '2026-03-30T22:00',
    ]);
    expect(edges('day', 'America/New_York', '2026-11-01T12:00:00Z', '2026-11-01T13:00:00Z')).toEqual([
      '2026-11-01T04:00',
      '2026-11-02T05:00',
    ]);
  });

  it('begins a day at its first full hour of UTC where the zone is off by half an hour', () => {
    expect(edges('day', 'Asia/Kolkata', '2026-05-05T12:00:00Z', '2026-05-05T12:00:01Z')).toEqual([
      '2026-05-04T19:00',
      '2026-05-05T19:00',
    ]);
  });

  it('begins a day without a midnight at its first hour, and leaves out one that never was', () => {
    expect(edges('day', 'Africa/Cairo', '2025-04-25T12:00:00Z', '2025-04-25T13:00:00Z')).toEqual([
      '2025-04-24T22:00',
      '2025-04-25T21:00',
    ]);
    expect(edges('day', 'Pacific/Apia', '2011-12-29T12:00:00Z', '2011-12-31T12:00:00Z')).toEqual([
      '2011-12-29T10:00',
      '2011-12-30T10:00',
      '2011-12-31T10:00',
      '2012-01-01T10:00',
    ]);
  });

  it('gives months of their own lengths', () => {
    expect(edges('month', 'Asia/Tokyo', '2027-12-31T15:00:00Z', '2028-02-29T15:00:00Z')).toEqual([
      '2027-12-31T15:00',
      '2028-01-31T15:00',
      '2028-02-29T15:00',
    ]);
  });

  it.each<[Granularity, number]>([
    ['hour', 24],
    ['day', 30],
    ['month', 12],
  ])('gives the latest buckets by the %s when nobody says where to begin', (granularity, count) => {
    const made = bucketEdges(granularity, 'America/St_Johns', undefined, new Date('2026-11-22T05:26:00Z'));
    expect(made).toHaveLength(count + 1);
  });

  it('cuts any span in any zone where the local date changes, and nowhere else', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.constantFrom('day' as const, 'month' as const),
        anySpan(80),
        (zone, granularity, [from, to]) => {
          const made = bucketEdges(granularity, zone, from, to);
          const [first, last] = [made[0], made.at(-1)];
          if (!first || !last) throw new Error('There are no edges.');
          expect(first.getTime()).toBeLessThanOrEqual(from.getTime());
          expect(last.getTime()).toBeGreaterThanOrEqual(to.getTime());
          const cuts = new Set(made.map((edge) => edge.getTime()));
          expect(cuts.size).toBe(made.length);
          const dateOf = datesIn(zone);
          const expected = new Set<number>();
          let before = dateOf(first.getTime() - HOUR_MS);
          for (let hour = first.getTime(); hour <= last.getTime(); hour += HOUR_MS) {
            const here = dateOf(hour);
            const length = granularity === 'day' ? 10 : 7;
            if (before.slice(0, length) !== here.slice(0, length)) expected.add(hour);
            before = here;
          }
          expect({ zone, cuts }).toEqual({ zone, cuts: expected });
        },
      ),
      { numRuns: RUNS },
    );
  });
});

it('knows the zones of the IANA database, old names and offsets, and nothing else', () => {
  expect(zones.filter((zone) => !isTimeZone(zone))).toEqual([]);
  for (const wrong of ['', 'Mars/Olympus', 'Europe/Berlin; --', 'CEST+1', null, ['UTC'], 5])
    expect(isTimeZone(wrong)).toBe(false);
});
