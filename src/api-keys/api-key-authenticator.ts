import { Inject, Injectable } from '@nestjs/common';
import { EntityManager, In } from 'typeorm';
import { budgetNanoUsd } from '../common/budget';
import { Clock } from '../common/clock';
import type { KeyState } from '../common/denials';
import { IpList } from '../common/ip-list';
import type { ApiKeyPrincipal } from '../common/principal';
import { ENV, type Env } from '../config/env';
import { OneSecondCache } from '../platform/cache/one-second-cache';
import { hashApiKey, isWellFormedApiKey } from './api-key-secret';
import { ApiKeyVersion } from './api-key-version.entity';
import type { ApiKey } from './api-key.entity';
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
    const versions = await this.db
      .createQueryBuilder(ApiKeyVersion, 'version')
      .addSelect('version.keyHash')
      .innerJoinAndSelect('version.apiKey', 'key')
      .innerJoinAndSelect('key.user', 'user')
      .where({ keyHash: In([...hashes]) })
      .getMany();
    return new Map(
      versions.flatMap((version) =>
        version.apiKey ? [[version.keyHash, toKnown(version, version.apiKey)]] : [],
      ),
    );
  }
}

function toKnown(version: ApiKeyVersion, key: ApiKey): KnownSecret {
  const { user } = key;
  if (!user) throw new Error('A key is read with its owner.');
  return {
    versionId: version.id,
    isActive: key.isActive && user.isActive,
    isCompromised: key.compromisedAt !== null,
    endMs: Math.min(key.expiresAt?.getTime() ?? Infinity, version.expiresAt?.getTime() ?? Infinity),
    principal: {
      kind: 'api_key',
      userId: key.userId,
      apiKeyId: key.id,
      environment: key.environment,
      permissions: key.permissions,
      metadata: key.metadata,
      servicePermissions: key.servicePermissions,
      allowedIps: key.allowedIps.length > 0 ? new IpList(key.allowedIps) : null,
      rateLimitPerMinute: key.rateLimitPerMinute,
      tier: user.tier,
      budgets: {
        apiKey: budgetNanoUsd(key.monthlyBudgetUsd),
        account: budgetNanoUsd(user.monthlyBudgetUsd),
      },
    },
  };
}
