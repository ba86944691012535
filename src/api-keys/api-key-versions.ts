import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { ApiKey } from './api-key.entity';
import type { ApiKeySecret } from './api-key-secret';
import { ApiKeyVersion } from './api-key-version.entity';
import { ApiKeyErrors } from './api-keys.errors';

/** So long after its last use an old secret counts as given up. */
const QUIET_MS = 3_600_000;

/** The current secrets of keys and the old ones that have not ended, newest first. */
export function workingVersions(
  keyIds: readonly string[],
  now: Date,
  db: EntityManager,
): Promise<ApiKeyVersion[]> {
  return db
    .createQueryBuilder(ApiKeyVersion, 'version')
    .where('version.apiKeyId = ANY(:keyIds)', { keyIds })
    .andWhere('(version.expiresAt IS NULL OR version.expiresAt > :now)', { now })
    .orderBy('version.id', 'DESC')
    .getMany();
}

/**
 * Whether an old secret can be ended without harm, as far as one can see: its successors are in use, and it was not
 * used for an hour.
 */
export function isSafeToEnd(version: ApiKeyVersion, all: readonly ApiKeyVersion[], now: Date): boolean {
  if (version.expiresAt === null) return false;
  const isSucceeded = all.some(({ expiresAt, lastUsed }) => expiresAt === null && lastUsed !== null);
  return isSucceeded && now.getTime() - (version.lastUsed?.getTime() ?? 0) >= QUIET_MS;
}

/** Adds a key's current secret; the one before must have its end by then. */
export async function addVersion(
  apiKeyId: string,
  { hash, prefix }: Pick<ApiKeySecret, 'hash' | 'prefix'>,
  now: Date,
  tx: EntityManager,
): Promise<ApiKeyVersion> {
  const version = Object.assign(new ApiKeyVersion(), {
    id: uuidv7(),
    apiKeyId,
    keyHash: hash,
    keyPrefix: prefix,
    createdAt: now,
    expiresAt: null,
    lastUsed: null,
  });
  await tx.insert(ApiKeyVersion, version);
  return version;
}

/** No secret of a key works longer than until `end`. */
export async function endVersions(apiKeyId: string, end: Date, tx: EntityManager): Promise<void> {
  await tx.query(
    `UPDATE api_key_versions SET expires_at = $2
     WHERE api_key_id = $1 AND (expires_at IS NULL OR expires_at > $2)`,
    [apiKeyId, end],
  );
}

/** Locks a key for a change. @throws ApiError `api_key_not_found`, `api_key_inactive`. */
export async function lockActive(userId: string, id: string, tx: EntityManager): Promise<ApiKey> {
  const key = await tx.findOne(ApiKey, { where: { id, userId }, lock: { mode: 'pessimistic_write' } });
  if (!key) throw ApiKeyErrors.notFound();
  if (!key.isActive) throw ApiKeyErrors.inactive();
  return key;
}
