import { toCsv } from './usage-csv';

describe('toCsv', () => {
  it('leaves negative numbers as they are, which no spreadsheet takes for a formula', () => {
    const rows = [{ amount: '-0.500000000' }, { amount: '-1+1' }, { amount: '-1' }, { amount: null }];
    expect(toCsv(rows, ['amount'], true)).toBe("amount\r\n-0.500000000\r\n'-1+1\r\n-1\r\n\r\n");
  });

  it('is nothing at all for no rows, without the line of names', () => {
    expect(toCsv([], ['amount'], false)).toBe('');
    expect(toCsv([], ['amount'], true)).toBe('amount\r\n');
  });
});
