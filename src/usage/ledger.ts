import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { EntityManager, QueryFailedError } from 'typeorm';
import type { UsageLog } from './usage-log.entity';
import { UsageErrors } from './usage.errors';

const BATCH_MAX = 500;
const QUEUE_MAX = 10_000;

const APPEND_SQL = `
  INSERT INTO usage_logs (id, user_id, api_key_id, operation, provider, model, input_tokens, output_tokens,
                          tokens_used, cost_usd, ip_address, user_agent, metadata, created_at)
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::int[], $8::int[],
                       $9::int[], $10::numeric[], $11::text[], $12::text[], $13::jsonb[], $14::timestamptz[])
  ON CONFLICT (id) DO NOTHING`;

interface Waiting {
  readonly line: UsageLog;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Writes the ledger. Calls that finish together share one statement (group commit): while one batch is on its way,
 * the next one gathers. Whoever appends waits for the commit.
 */
@Injectable()
export class Ledger implements OnApplicationShutdown {
  private queue: Waiting[] = [];
  private writing: Promise<void> | undefined;

  constructor(private readonly db: EntityManager) {}

  /**
   * Resolves once the line is committed.
   * @throws ApiError `metering_busy` when the queue is full; nothing is written then.
   */
  append(line: UsageLog): Promise<void> {
    if (this.queue.length >= QUEUE_MAX)
      return Promise.reject(UsageErrors.ledgerBusy.with({ retryAfterSeconds: 1 }));
    const committed = new Promise<void>((resolve, reject) => this.queue.push({ line, resolve, reject }));
    this.writing ??= this.writeAll();
    return committed;
  }

  /** Everything appended is written before the connections close. */
  async onApplicationShutdown(): Promise<void> {
    await this.writing;
  }

  private async writeAll(): Promise<void> {
    // Lets the calls of this turn of the event loop share the first batch.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.queue.length > 0) await this.write(this.queue.splice(0, BATCH_MAX));
    this.writing = undefined;
  }

  /** A broken connection leaves open whether the batch was committed; ids are fixed, so sending it again is safe. */
  private async insert(columns: unknown[]): Promise<void> {
    try {
      await this.db.query(APPEND_SQL, columns);
    } catch (error) {
      if (isDataError(error)) throw error;
      await this.db.query(APPEND_SQL, columns);
    }
  }

  /** A line that the database refuses must not take its neighbours down: the batch is halved until it stands alone. */
  private async write(batch: readonly Waiting[]): Promise<void> {
    try {
      await this.insert(columnsOf(batch.map(({ line }) => line)));
      for (const { resolve } of batch) resolve();
    } catch (error) {
      if (!isDataError(error) || batch.length === 1) {
        for (const { reject } of batch) reject(error);
        return;
      }
      const middle = Math.ceil(batch.length / 2);
      await this.write(batch.slice(0, middle));
      await this.write(batch.slice(middle));
    }
  }
}

/** PostgreSQL classes 22 (data exception) and 23 (constraint violation): the statement, not the server, is at fault. */
function isDataError(error: unknown): boolean {
  return (
    error instanceof QueryFailedError && /^2[23]/.test(String((error.driverError as { code?: unknown }).code))
  );
}

function columnsOf(lines: readonly UsageLog[]): unknown[] {
  const column = <K extends keyof UsageLog>(name: K): UsageLog[K][] => lines.map((line) => line[name]);
  return [
    column('id'),
    column('userId'),
    column('apiKeyId'),
    column('operation'),
    column('provider'),
    column('model'),
    column('inputTokens'),
    column('outputTokens'),
    column('tokensUsed'),
    column('costUsd'),
    column('ipAddress'),
    column('userAgent'),
    lines.map(({ metadata }) => JSON.stringify(metadata)),
    column('createdAt'),
  ];
}
