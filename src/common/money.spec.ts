import fc from 'fast-check';
import { formatUsd, parseUsd, usdNumber } from './money';

describe('money', () => {
  it('writes nano-dollars as exact decimals', () => {
    expect(formatUsd(0n)).toBe('0.000000000');
    expect(formatUsd(100_000n)).toBe('0.000100000');
    expect(formatUsd(12_345_678_901_234_567_890n)).toBe('12345678901.234567890');
    expect(formatUsd(-1n)).toBe('-0.000000001');
  });

  it('reads back every amount it writes', () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 80n), 2n ** 80n), (amount) => {
        expect(parseUsd(formatUsd(amount))).toBe(amount);
      }),
    );
  });

  it('reads what PostgreSQL writes, with fewer or more zeros', () => {
    expect(parseUsd('10000')).toBe(10_000_000_000_000n);
    expect(parseUsd('0.0001')).toBe(100_000n);
    expect(parseUsd('1.00000000000000')).toBe(1_000_000_000n);
  });

  it.each(['', '1e3', '0.0000000001', 'NaN', '1,5', '.5'])('refuses %p', (text) => {
    expect(() => parseUsd(text)).toThrow(RangeError);
  });

  it('gives the nearest JSON number', () => {
    expect(usdNumber(1_200_000n)).toBe(0.0012);
    expect(usdNumber(300_000_000n)).toBe(0.3);
  });
});
