/** How long a bucket of a time series is. */
export const granularities = ['hour', 'day', 'month'] as const;
export type Granularity = (typeof granularities)[number];

/** From `from` (counts) to `to` (does not count any more). */
export interface Span {
  readonly from: Date;
  readonly to: Date;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What a time series may span, in days: some hundred buckets. */
export const spanDaysMax: Readonly<Record<Granularity, number>> = { hour: 31, day: 366, month: 1_096 };

/** How many buckets a series has when nobody says where it begins. */
export const bucketsDefault: Readonly<Record<Granularity, number>> = { hour: 24, day: 30, month: 12 };

/** Local time at an instant, written as if it were UTC; both in milliseconds. */
type LocalTime = (instantMs: number) => number;

/** Whether a name is a time zone that this service knows: of the IANA database, old names included, or an offset. */
export function isTimeZone(name: unknown): boolean {
  try {
    return typeof name === 'string' && name !== '' && !!new Intl.DateTimeFormat('en', { timeZone: name });
  } catch {
    return false;
  }
}

/**
 * Where the buckets begin that hold a span, and at the end where the last one ends. All are full hours of UTC, as the
 * sums are kept: where a zone is off by half an hour, a day begins with the first full hour of UTC in it.
 * @param from undefined: so that there are {@link bucketsDefault}.
 */
export function bucketEdges(
  granularity: Granularity,
  timeZone: string,
  from: Date | undefined,
  to: Date,
): Date[] {
  const begin = from && floorHour(from.getTime());
  const lastHour = floorHour(to.getTime() - 1);
  const edges =
    granularity === 'hour' ? hourEdges(begin, lastHour) : dateEdges(granularity, timeZone, begin, lastHour);
  return edges.map((ms) => new Date(ms));
}

function hourEdges(begin: number | undefined, lastHour: number): number[] {
  const first = begin ?? lastHour - (bucketsDefault.hour - 1) * HOUR_MS;
  const count = (lastHour - first) / HOUR_MS + 1;
  return Array.from({ length: count + 1 }, (_, i) => first + i * HOUR_MS);
}

function dateEdges(
  granularity: 'day' | 'month',
  timeZone: string,
  begin: number | undefined,
  lastHour: number,
): number[] {
  const local = localTimeOf(timeZone);
  const last = dateOf(granularity, local(lastHour));
  const first =
    begin === undefined
      ? dateOf(granularity, last, 1 - bucketsDefault[granularity])
      : dateOf(granularity, local(begin));
  const edges = new Set<number>();
  // A set, for a zone may leave out a whole day: Samoa did, to change sides.
  for (let date = first; date <= last; date = dateOf(granularity, date, 1)) edges.add(firstHour(date, local));
  edges.add(firstHour(dateOf(granularity, last, 1), local));
  return [...edges];
}

/** The first moment of the local day or month, moved on by so many of them; as local time in and out. */
function dateOf(granularity: 'day' | 'month', localMs: number, move = 0): number {
  const at = new Date(localMs);
  const [year, month, day] = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()];
  return granularity === 'day' ? Date.UTC(year, month, day + move) : Date.UTC(year, month + move, 1);
}

/** The first full hour of UTC that is not before a local time. */
function firstHour(localMs: number, local: LocalTime): number {
  const offsetMs = local(localMs) - localMs;
  let hour = floorHour(localMs - offsetMs);
  while (local(hour) < localMs) hour += HOUR_MS;
  while (local(hour - HOUR_MS) >= localMs) hour -= HOUR_MS;
  return hour;
}

function floorHour(ms: number): number {
  return Math.floor(ms / HOUR_MS) * HOUR_MS;
}

function localTimeOf(timeZone: string): LocalTime {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return (instantMs) => {
    const parts = new Map(format.formatToParts(instantMs).map(({ type, value }) => [type, Number(value)]));
    const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
    return Date.UTC(
      part('year'),
      part('month') - 1,
      part('day'),
      part('hour'),
      part('minute'),
      part('second'),
    );
  };
}

/** Whether a span is longer than a series of this granularity may be. */
export function isTooLong(granularity: Granularity, { from, to }: Span): boolean {
  return to.getTime() - from.getTime() > spanDaysMax[granularity] * DAY_MS;
}
