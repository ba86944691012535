import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { budgetNanoUsd } from '../common/budget';
import { Clock } from '../common/clock';
import type { KeyState } from '../common/denials';
import { IpList } from '../common/ip-list';
import type { ApiKeyPrincipal, Environment, Tier } from '../common/principal';
import { ENV, type Env } from '../config/env';
import { OneSecondCache } from '../platform/cache/one-second-cache';
import { queryPrepared } from '../platform/database/prepared-statements';
import { tierInForce } from '../users/plans';
import { hashApiKey, isWellFormedApiKey } from './api-key-secret';
import { KeyUses } from './key-uses';

/** What a text is found to be: the key it opens, or why it opens nothing; null when it is nobody's. */
export type KeyFinding =
  | { readonly state: 'VALID'; readonly principal: ApiKeyPrincipal }
  | { readonly state: Exclude<KeyState, 'VALID'>; readonly principal: ApiKeyPrincipal | null };

/** A secret with what is known of its key and of the key's owner. */
interface KnownSecret {
  readonly versionId: string;
  readonly principal: ApiKeyPrincipal;
  /** False: the key was deactivated, or its owner is suspended. */
  readonly isActive: boolean;
  readonly isCompromised: boolean;
  /** The end of the key or of this version of it, whichever comes first. */
  readonly endMs: number;
}

/** Plain rows: of a thousand keys in use each is read once a second, and as entities they took a tenth of a metered call. */
const READ_SQL = `
  SELECT version.id AS version_id, version.key_hash, key.id AS api_key_id, key.user_id, key.environment,
         key.permissions, key.metadata, key.service_permissions, key.allowed_ips, key.rate_limit_per_minute,
         key.monthly_budget_usd AS key_budget, owner.monthly_budget_usd AS account_budget,
         owner.billing_tier, owner.tier_override,
         key.is_active AND owner.is_active AS is_active, key.compromised_at IS NOT NULL AS is_compromised,
         (extract(epoch FROM least(key.expires_at, version.expires_at)) * 1000)::float8 AS end_ms
  FROM api_key_versions AS version
  JOIN api_keys AS key ON key.id = version.api_key_id
  JOIN users AS owner ON owner.id = key.user_id
  WHERE version.key_hash = ANY($1)`;

interface SecretRow {
  readonly version_id: string;
  readonly key_hash: string;
  readonly api_key_id: string;
  readonly user_id: string;
  readonly environment: Environment;
  readonly permissions: Record<string, boolean>;
  readonly metadata: Record<string, string>;
  readonly service_permissions: string[];
  readonly allowed_ips: string[];
  readonly rate_limit_per_minute: number;
  readonly key_budget: string | null;
  readonly account_budget: string | null;
  readonly billing_tier: Tier;
  readonly tier_override: Tier | null;
  readonly is_active: boolean;
  readonly is_compromised: boolean;
  /** In milliseconds since the Unix epoch; null: neither the key nor this version of it ends. */
  readonly end_ms: number | null;
}

/** Finds the key that a text is, from memory; at most a second behind the database, which garbage never reaches. */
@Injectable()
export class ApiKeyAuthenticator {
  /** By hash. */
  private readonly known: OneSecondCache<KnownSecret>;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly uses: KeyUses,
    @Inject(ENV) private readonly env: Env,
  ) {
    this.known = new OneSecondCache(
      (hashes) => this.read(hashes),
      () => clock.nowMs(),
    );
  }

  /** Finds out whether a text is a key that opens something now. */
  async authenticate(text: string): Promise<KeyFinding> {
    const secret = this.mayBeKey(text) ? await this.known.get(hashApiKey(text)) : undefined;
    if (!secret) return { state: 'NOT_FOUND', principal: null };
    const { principal } = secret;
    if (secret.isCompromised) return { state: 'COMPROMISED', principal };
    if (!secret.isActive) return { state: 'DISABLED', principal };
    if (secret.endMs <= this.clock.nowMs()) return { state: 'EXPIRED', principal };
    this.uses.note(secret.versionId);
    return { state: 'VALID', principal };
  }

  /** Makes this process ask the database about a key again: after the commit of a change to it. */
  forgetKey(id: string): void {
    this.known.evictWhere(({ principal }) => principal.apiKeyId === id);
  }

  /** The same for all keys of a user: after the commit of a change to him or them. */
  forgetUser(userId: string): void {
    this.known.evictWhere(({ principal }) => principal.userId === userId);
  }

  /** Imported keys have no checksum; their beginning is all that tells them from garbage. */
  private mayBeKey(text: string): boolean {
    return (
      isWellFormedApiKey(text) || this.env.IMPORTED_KEY_PREFIXES.some((prefix) => text.startsWith(prefix))
    );
  }

  private async read(hashes: readonly string[]): Promise<Map<string, KnownSecret>> {
    const rows = await queryPrepared<SecretRow>(this.db, READ_SQL, [hashes]);
    return new Map(rows.map((row) => [row.key_hash, toKnown(row)]));
  }
}

function toKnown(row: SecretRow): KnownSecret {
  return {
    versionId: row.version_id,
    isActive: row.is_active,
    isCompromised: row.is_compromised,
    endMs: row.end_ms ?? Infinity,
    principal: {
      kind: 'api_key',
      userId: row.user_id,
      apiKeyId: row.api_key_id,
      environment: row.environment,
      permissions: row.permissions,
      metadata: row.metadata,
      servicePermissions: row.service_permissions,
      allowedIps: row.allowed_ips.length > 0 ? new IpList(row.allowed_ips) : null,
      rateLimitPerMinute: row.rate_limit_per_minute,
      tier: tierInForce({ billingTier: row.billing_tier, tierOverride: row.tier_override }),
      budgets: { apiKey: budgetNanoUsd(row.key_budget), account: budgetNanoUsd(row.account_budget) },
    },
  };
}
