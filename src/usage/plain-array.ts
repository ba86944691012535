/** PostgreSQL's text for an array of what needs no quotes there: numbers, UUIDs and times. The driver would quote and escape each. */
export function plainArray(values: readonly (string | number | null)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}
