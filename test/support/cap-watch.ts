import { Client } from 'pg';
import { EntityManager } from 'typeorm';
import type { TestApp } from './test-app';

/** How often a cap was looked at, and how often more was held and settled than it allows. */
export interface Watched {
  readonly looked: number;
  readonly broken: number;
}

/**
 * Looks at what is held and settled of an account or a key from a connection of its own, as fast as it can.
 * @param scopeId the id of either.
 */
export async function watchCap(
  databaseUrl: string,
  scopeId: string,
  capUsd: string,
): Promise<{ end(): Promise<Watched> }> {
  const client = new Client(databaseUrl);
  await client.connect();
  const seen = { looked: 0, broken: 0 };
  const end = new AbortController();
  const watching = (async () => {
    while (!end.signal.aborted) {
      const { rows } = await client.query(
        'SELECT 1 FROM usage_months WHERE scope_id = $1 AND cost_usd + held_usd > $2::numeric',
        [scopeId, capUsd],
      );
      seen.looked += 1;
      seen.broken += rows.length;
    }
    await client.end();
  })();
  return {
    end: async () => {
      end.abort();
      await watching;
      return seen;
    },
  };
}

/** A race on a cold pool proves nothing. */
export async function openAllConnections({ app, env }: TestApp): Promise<void> {
  const db = app.get(EntityManager);
  await Promise.all(Array.from({ length: env.DATABASE_POOL_MAX }, () => db.query('SELECT pg_sleep(0.05)')));
}
