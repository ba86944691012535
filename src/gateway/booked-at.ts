const DAY_MS = 24 * 3_600_000;
/** Clocks differ. */
const AHEAD_MS_MAX = 5 * 60_000;

/**
 * When something is booked that was done at a time by another's clock: then, but now when that clock is ahead.
 * @returns null when it is too old, or further ahead than clocks differ.
 */
export function bookedAt(doneAt: Date, now: Date, ageDaysMax: number): Date | null {
  const ageMs = now.getTime() - doneAt.getTime();
  if (ageMs > ageDaysMax * DAY_MS || ageMs < -AHEAD_MS_MAX) return null;
  return ageMs < 0 ? now : doneAt;
}
