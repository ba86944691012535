import { cpus, totalmem } from 'node:os';

/** The middle of some numbers; of an even count the mean of the two in the middle. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** `median (least .. most)`. */
export function spread(numbers, digits = 0) {
  const text = (number) => number.toFixed(digits);
  return `${text(median(numbers))} (${text(Math.min(...numbers))} .. ${text(Math.max(...numbers))})`;
}

/** One field of each result. */
export function column(results, name) {
  return results.map((result) => result[name]);
}

/** The median of each round's ratio to the floor's same round, for the machine may be slower in one than in the next. */
export function ratio(results, floor, name) {
  return median(results.map((result, index) => result[name] / floor[index][name])).toFixed(2);
}

/** Prints rows of texts under a title, as aligned columns: the first to the left, the others to the right. */
export function printTable(title, head, rows) {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, index) => Math.max(...all.map((row) => (row[index] ?? '').length)));
  const pad = (text, index) => (index === 0 ? text.padEnd(widths[index]) : text.padStart(widths[index]));
  const lines = all.map((row) => `  ${row.map(pad).join('   ')}`.trimEnd());
  lines.splice(1, 0, `  ${widths.map((width) => '-'.repeat(width)).join('   ')}`);
  console.log(`\n${title}\n${lines.join('\n')}`);
}

/** Says so when anything was answered but 2xx: such figures are worth nothing. */
export function warnOfFailures(results) {
  const failed = results
    .map(({ failures }) => failures)
    .filter((failures) => Object.keys(failures).length > 0);
  if (failed.length > 0) console.log(`  NOT 2xx, by status and round: ${JSON.stringify(failed)}`);
}

export function thousands(number) {
  return number.toLocaleString('en-US');
}

export function percent(share) {
  return `${(share * 100).toFixed(0)} %`;
}

export function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

/** One line about the machine, without its name. */
export async function describeMachine(database) {
  const { rows } = await database.query(`SELECT current_setting('server_version') AS version`);
  const processors = cpus();
  const memoryGib = Math.round(totalmem() / 2 ** 30);
  return (
    `${processors.length} cores (${processors[0]?.model.trim() ?? 'unknown'}), ${memoryGib} GiB, ` +
    `${process.platform} ${process.arch}, Node ${process.versions.node}, PostgreSQL ${rows[0].version}`
  );
}
