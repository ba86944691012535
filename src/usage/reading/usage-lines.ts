import { Injectable } from '@nestjs/common';
import { type Page, pageOf, type PageRequest } from '../../common/pagination';
import type { UsageMetadata } from '../usage-log.entity';
import { ReadingDatabase } from './reading-database';
import { csvLine } from './usage-csv';
import { type UsageFilter, usageWhere } from './usage-filter';

/** A line of the ledger as its owner reads it. */
export interface UsageLine {
  readonly id: string;
  readonly created_at: Date;
  readonly api_key_id: string | null;
  readonly operation: string;
  readonly provider: string | null;
  readonly model: string | null;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly tokens_used: number;
  /** A decimal string of dollars. */
  readonly cost_usd: string;
  readonly ip_address: string | null;
  readonly user_agent: string | null;
  readonly metadata: Partial<UsageMetadata>;
}

const COLUMNS = `id, created_at, api_key_id, operation, provider, model, input_tokens, output_tokens, tokens_used, cost_usd,
                 ip_address, user_agent, metadata`;

/** How many lines an export holds at a time. */
const CHUNK = 1_000;

/** Reads the ledger line by line. */
@Injectable()
export class UsageLines {
  constructor(private readonly db: ReadingDatabase) {}

  /** A page of the lines that fit the filter, latest call first. A cursor that is no line of the user's ends the list. */
  async page(userId: string, filter: UsageFilter, page: PageRequest): Promise<Page<UsageLine>> {
    const { where, parameters } = usageWhere(userId, filter, 'created_at');
    const [limit, before] = [`$${parameters.length + 1}`, `$${parameters.length + 2}`];
    const after =
      page.before === null
        ? ''
        : `AND (created_at, id) < ((SELECT max(created_at) FROM usage_logs WHERE user_id = $1 AND id = ${before}), ${before}::uuid)`;
    const sql = `SELECT ${COLUMNS} FROM usage_logs WHERE ${where} ${after} ORDER BY created_at DESC, id DESC LIMIT ${limit}`;
    const values = [...parameters, page.limit + 1, ...(page.before === null ? [] : [page.before])];
    const rows = await this.db.query<UsageLine>(sql, values);
    // A replica may not know the line yet after which the list goes on: only then is such a page empty.
    const isLost = rows.length === 0 && page.before !== null;
    return pageOf(isLost ? await this.db.primary.query<UsageLine[]>(sql, values) : rows, page);
  }

  /**
   * All lines that fit the filter as CSV, oldest first, in chunks that are each read when they are asked for: neither a
   * connection nor more than one chunk is held while a slow reader makes us wait. Chunks are never empty.
   */
  async *csv(userId: string, filter: UsageFilter): AsyncGenerator<string, void> {
    const { where, parameters } = usageWhere(userId, filter, 'created_at');
    const [at, id] = [`$${parameters.length + 1}`, `$${parameters.length + 2}`];
    const sql = (after: string): string =>
      `SELECT string_agg(line, '' ORDER BY created_at, id) AS text, max(created_at)::text AS at,
              (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS id, count(*)::int AS lines
       FROM (SELECT created_at, id, ${csvLine} AS line FROM usage_logs WHERE ${where} ${after}
             ORDER BY created_at, id LIMIT ${CHUNK}) AS chunk`;
    let [chunk] = await this.db.query<Chunk>(sql(''), parameters);
    while (chunk?.text) {
      yield chunk.text;
      if (chunk.lines < CHUNK) return;
      [chunk] = await this.db.query<Chunk>(sql(`AND (created_at, id) > (${at}::timestamptz, ${id}::uuid)`), [
        ...parameters,
        chunk.at,
        chunk.id,
      ]);
    }
  }
}

/** Some lines, and where the last of them stands: its time as text, for a JavaScript date has no microseconds. */
interface Chunk {
  /** Null: there are none. */
  readonly text: string | null;
  readonly at: string;
  readonly id: string;
  readonly lines: number;
}
