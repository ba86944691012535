import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Environment } from '../common/principal';
import { KEY_RATE_PER_MINUTE_DEFAULT, type Plan, plans } from '../users/plans';
import type { User } from '../users/user.entity';
import { ApiKey } from './api-key.entity';
import type { ApiKeySecret } from './api-key-secret';
import type { ApiKeyVersion } from './api-key-version.entity';
import { addVersion } from './api-key-versions';
import { ApiKeyErrors } from './api-keys.errors';

/** What the owner of a key decides, and may change later. */
export interface KeySettings {
  readonly name: string;
  readonly permissions: Record<string, boolean>;
  readonly rateLimitPerMinute: number;
  /** In dollars; null: no cap. */
  readonly monthlyBudgetUsd: string | null;
  readonly allowedIps: string[];
  readonly metadata: Record<string, string>;
  readonly expiresAt: Date | null;
}

/** A key to be made; what is left out takes its default. */
export type NewApiKey = Partial<KeySettings> & { readonly name: string; readonly environment?: Environment };

/** A key with its secrets that still work, the current one first. */
export type ApiKeyWithVersions = ApiKey & { readonly versions: readonly ApiKeyVersion[] };

/** @throws ApiError `unknown_permissions`, `expires_in_the_past`. */
export function checkSettings(
  { permissions = {}, expiresAt = null }: Partial<KeySettings>,
  known: readonly string[],
  now: Date,
): void {
  const unknown = Object.keys(permissions).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw ApiKeyErrors.unknownPermissions(unknown, known);
  if (expiresAt && expiresAt <= now) throw ApiKeyErrors.expiresInThePast();
}

/**
 * Adds a key to an account that the caller has locked, so that two requests cannot both take the last free place.
 * @throws ApiError `api_key_limit_reached`, `rate_limit_above_plan`; nothing is stored then.
 */
export async function addKey(
  { id: userId, tier }: Pick<User, 'id' | 'tier'>,
  { environment = 'live', rateLimitPerMinute, ...settings }: NewApiKey,
  secret: Pick<ApiKeySecret, 'hash' | 'prefix'>,
  now: Date,
  tx: EntityManager,
): Promise<ApiKeyWithVersions> {
  const plan = plans[tier];
  const active = await tx.countBy(ApiKey, { userId, isActive: true });
  if (active >= plan.activeKeysMax) throw ApiKeyErrors.limitReached(plan.activeKeysMax, plan.name);

  const made = Object.assign(new ApiKey(), {
    id: uuidv7(),
    userId,
    environment,
    isActive: true,
    permissions: {},
    servicePermissions: [],
    monthlyBudgetUsd: null,
    allowedIps: [],
    metadata: {},
    lastUsed: null,
    expiresAt: null,
    compromisedAt: null,
    leakUrl: null,
    ...settings,
    rateLimitPerMinute: rateWithinPlan(rateLimitPerMinute, plan),
    createdAt: now,
  });
  await tx.insert(ApiKey, made);
  return Object.assign(made, { versions: [await addVersion(made.id, secret, now, tx)] });
}

/** @throws ApiError `rate_limit_above_plan`. */
export function rateWithinPlan(wanted: number | undefined, plan: Plan): number {
  if (wanted !== undefined && wanted > plan.keyRatePerMinuteMax) {
    throw ApiKeyErrors.rateLimitAbovePlan(plan.keyRatePerMinuteMax, plan.name);
  }
  return wanted ?? Math.min(KEY_RATE_PER_MINUTE_DEFAULT, plan.keyRatePerMinuteMax);
}
