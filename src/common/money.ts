/** Nano-dollars: one US dollar is 1,000,000,000. All money in the program is a bigint of these. */
export type NanoUsd = bigint;

const NANO_PER_USD = 1_000_000_000n;

/**
 * Writes nano-dollars as a decimal string of dollars, exactly, for a `numeric` column or a ledger line.
 * @example formatUsd(1_200_000n) === '0.001200000'
 */
export function formatUsd(amount: NanoUsd): string {
  const sign = amount < 0n ? '-' : '';
  const digits = (amount < 0n ? -amount : amount).toString().padStart(10, '0');
  return `${sign}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/**
 * Reads a decimal string of dollars, as PostgreSQL writes a `numeric`.
 * @throws RangeError when it is not a decimal number or has more than nine decimals that are not zero.
 */
export function parseUsd(text: string): NanoUsd {
  const match = /^(-?)(\d+)(?:\.(\d{1,9})0*)?$/.exec(text);
  if (!match) throw new RangeError('Not an amount in dollars with at most nine decimals.');
  const [, sign, whole = '0', fraction = ''] = match;
  const amount = BigInt(whole) * NANO_PER_USD + BigInt(fraction.padEnd(9, '0'));
  return sign ? -amount : amount;
}

/** The JSON number of an amount, for summaries on the wire only: the one place where money becomes a float. */
export function usdNumber(amount: NanoUsd): number {
  return Number(formatUsd(amount));
}
