import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { LOG } from '../common/log-token';

const WRITE_AFTER_MS = 5_000;

/** Rows are locked in order, so that two processes cannot wait for each other. */
const WRITE_SQL = `
  WITH used AS (
    SELECT version.id, version.api_key_id, seen.at
    FROM unnest($1::uuid[], $2::timestamptz[]) AS seen (id, at)
    JOIN api_key_versions version USING (id)
    JOIN api_keys key ON key.id = version.api_key_id
    ORDER BY key.id, version.id
    FOR NO KEY UPDATE OF key, version
  ), written AS (
    UPDATE api_key_versions SET last_used = greatest(last_used, used.at)
    FROM used WHERE api_key_versions.id = used.id
  )
  UPDATE api_keys SET last_used = greatest(last_used, latest.at)
  FROM (SELECT api_key_id, max(at) AS at FROM used GROUP BY api_key_id) latest
  WHERE api_keys.id = latest.api_key_id`;

/** When keys and their secrets were last used: gathered in memory, written by one statement in five seconds however many requests there are. */
@Injectable()
export class KeyUses implements OnApplicationShutdown {
  /** By the id of the version, in milliseconds since the Unix epoch. */
  private seen = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** Notes that a request showed a secret. */
  note(versionId: string): void {
    this.seen.set(versionId, this.clock.nowMs());
    this.timer ??= setTimeout(() => void this.writeInBackground(), WRITE_AFTER_MS).unref();
  }

  /** Resolves when everything noted so far is in the table. */
  async write(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { seen } = this;
    if (seen.size === 0) return;
    this.seen = new Map();
    try {
      await this.db.query(WRITE_SQL, [[...seen.keys()], Array.from(seen.values(), (ms) => new Date(ms))]);
    } catch (error) {
      // They go with the next write; what was seen since is newer.
      this.seen = new Map([...seen, ...this.seen]);
      throw error;
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.writeInBackground();
  }

  private async writeInBackground(): Promise<void> {
    try {
      await this.write();
    } catch (err) {
      this.log.warn({ err }, 'last use of API keys could not be written');
    }
  }
}
