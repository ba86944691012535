import { randomInt } from 'node:crypto';

const QUICK_TRIES = 10;
const QUICK_GAP_MAX_S = 5;
const GAP_MAX_S = 900;

/**
 * How long to wait after so many tries in vain, in milliseconds: from one second, at most five for the first ten tries,
 * then doubling to a quarter of an hour; up to a fifth less by chance, so that processes do not return together.
 */
export function backoffMs(attempts: number): number {
  const seconds =
    attempts <= QUICK_TRIES
      ? Math.min(QUICK_GAP_MAX_S, 2 ** (attempts - 1))
      : Math.min(GAP_MAX_S, QUICK_GAP_MAX_S * 2 ** Math.min(attempts - QUICK_TRIES, 20));
  return Math.max(1_000, seconds * randomInt(800, 1_001));
}
