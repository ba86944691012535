import { stringify } from 'csv-stringify/sync';

/**
 * Rows as CSV (RFC 4180) with a line of names first when `header` is set. A text that a spreadsheet would take for a
 * formula begins with an apostrophe (OWASP, CSV injection); a negative number stays one.
 */
export function toCsv(rows: readonly object[], columns: readonly string[], header: boolean): string {
  return stringify([...rows], {
    columns: [...columns],
    header,
    escape_formulas: true,
    record_delimiter: 'windows',
    quote_record_delimiter: true,
    cast: {
      string: (text) => (/^-\d+(\.\d+)?$/.test(text) ? { value: text, escape_formulas: false } : text),
    },
  });
}
