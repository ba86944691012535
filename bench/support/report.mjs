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

/** Prints rows of texts under a title, as aligned columns: the first to the left, the others to the right. */
export function printTable(title, head, rows) {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const pad = (text, column) => (column === 0 ? text.padEnd(widths[column]) : text.padStart(widths[column]));
  const lines = all.map((row) => `  ${row.map(pad).join('   ')}`.trimEnd());
  lines.splice(1, 0, `  ${widths.map((width) => '-'.repeat(width)).join('   ')}`);
  console.log(`\n${title}\n${lines.join('\n')}`);
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
