import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { stringify } from 'csv-stringify/sync';

const QUOTE = '"'.charCodeAt(0);
const LINE_FEED = '\n'.charCodeAt(0);

/** Why a month was not archived; its lines are all still in the ledger. */
export class ArchiveError extends Error {
  override name = 'ArchiveError';
}

/** A row as PostgreSQL writes its values; null stays null. */
export type TextRow = Readonly<Record<string, string | null>>;

/**
 * Writes rows as CSV, compressed with gzip, with a line of names first. It is the CSV of PostgreSQL's `COPY`: texts are
 * quoted, null is an empty field without quotes. The file has its name only once it is whole and on the disk.
 * @throws ArchiveError when a file has that name already; it stays as it is.
 */
export async function writeArchive(
  path: string,
  columns: readonly string[],
  chunks: AsyncIterable<readonly TextRow[]>,
): Promise<void> {
  // Of a name of its own, for whoever archives at the same moment.
  const draft = `${path}.${randomUUID()}.partial`;
  try {
    const file = createWriteStream(draft, { mode: 0o600, flush: true });
    await pipeline(Readable.from(csvOf(columns, chunks)), createGzip(), file);
    // Unlike renaming, this overwrites nothing.
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new ArchiveError(
      `${path} exists already: of a run that was interrupted, or of another database. Its lines may stand nowhere else, so move it away, or choose another folder, and run the command again.`,
    );
  } finally {
    await rm(draft, { force: true });
  }
}

async function* csvOf(
  columns: readonly string[],
  chunks: AsyncIterable<readonly TextRow[]>,
): AsyncGenerator<string, void> {
  yield `${columns.join(',')}\n`;
  for await (const rows of chunks) yield stringify([...rows], { columns: [...columns], quoted_string: true });
}

/** How many rows an archive holds, as it can be read back from the disk; the line of names is none. */
export async function countArchive(path: string): Promise<number> {
  let lines = 0;
  let isQuoted = false;
  await pipeline(createReadStream(path), createGunzip(), async (bytes: AsyncIterable<Buffer>) => {
    for await (const chunk of bytes) {
      for (const byte of chunk) {
        // A doubled quote within a text toggles twice.
        if (byte === QUOTE) isQuoted = !isQuoted;
        else if (byte === LINE_FEED && !isQuoted) lines += 1;
      }
    }
  });
  return lines - 1;
}
