import { Inject, Injectable } from '@nestjs/common';
import { EntityManager, In } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import type { RequestOrigin } from '../common/origin';
import { ENV, type Env } from '../config/env';
import { Audit } from '../platform/audit/audit';
import { OneSecondCache } from '../platform/cache/one-second-cache';
import { KEY_RATE_PER_MINUTE_DEFAULT, type Plan, plans } from '../users/plans';
import { User } from '../users/user.entity';
import { ApiKey } from './api-key.entity';
import { generateApiKey, hashApiKey, isWellFormedApiKey } from './api-key-secret';
import { ApiKeyErrors } from './api-keys.errors';
import { knownPermissions } from './permissions';

/** What the maker of a key decides. */
export interface NewApiKey {
  readonly name: string;
  readonly permissions: Record<string, boolean>;
  /** Undefined: the default, within the plan. */
  readonly rateLimitPerMinute: number | undefined;
  readonly expiresAt: Date | null;
}

/** A key with its owner. */
export type OwnedApiKey = ApiKey & { user: User };

@Injectable()
export class ApiKeysService {
  private readonly permissions: readonly string[];
  /** By hash. */
  private readonly known: OneSecondCache<OwnedApiKey>;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
    @Inject(ENV) private readonly env: Env,
  ) {
    this.permissions = knownPermissions(env.EXTRA_PERMISSIONS);
    this.known = new OneSecondCache(
      (hashes) => this.readKnown(hashes),
      () => clock.nowMs(),
    );
  }

  /**
   * Makes a key. The answer is the only moment the key exists outside its owner's hands.
   * @throws ApiError when the plan, the permissions or the expiry do not allow it; nothing is stored then.
   */
  async create(
    userId: string,
    input: NewApiKey,
    origin: RequestOrigin,
    outer: EntityManager = this.db,
  ): Promise<{ key: string; apiKey: ApiKey }> {
    const unknown = Object.keys(input.permissions).filter((name) => !this.permissions.includes(name));
    if (unknown.length > 0) throw ApiKeyErrors.unknownPermissions(unknown, this.permissions);
    const now = this.clock.now();
    if (input.expiresAt && input.expiresAt <= now) throw ApiKeyErrors.expiresInThePast();
    const { key, hash, prefix } = generateApiKey();

    const apiKey = await outer.transaction(async (tx) => {
      // Locks the owner, so that two requests cannot both take the last free place.
      const owner = await tx.findOneOrFail(User, {
        where: { id: userId },
        lock: { mode: 'pessimistic_write' },
      });
      if (this.env.REQUIRE_EMAIL_VERIFICATION && !owner.isVerified) throw ApiKeyErrors.emailNotVerified();
      const plan = plans[owner.tier];
      const active = await tx.countBy(ApiKey, { userId, isActive: true });
      if (active >= plan.activeKeysMax) throw ApiKeyErrors.limitReached(plan.activeKeysMax, plan.name);

      const made = Object.assign(new ApiKey(), {
        id: uuidv7(),
        userId,
        name: input.name,
        keyHash: hash,
        keyPrefix: prefix,
        isActive: true,
        permissions: input.permissions,
        rateLimitPerMinute: rateWithinPlan(input.rateLimitPerMinute, plan),
        createdAt: now,
        lastUsed: null,
        expiresAt: input.expiresAt,
      });
      await tx.insert(ApiKey, made);
      await this.audit.record(
        {
          action: 'key.created',
          by: { id: userId, origin },
          subjectId: userId,
          targetId: made.id,
          details: { name: made.name },
        },
        tx,
      );
      return made;
    });
    return { key, apiKey };
  }

  /** All keys of a user, inactive ones too, newest first. */
  list(userId: string): Promise<ApiKey[]> {
    return this.db.find(ApiKey, { where: { userId }, order: { id: 'DESC' } });
  }

  /**
   * Ends a key, for good; doing it twice changes nothing.
   * @throws ApiError `api_key_not_found` also for another user's key: its existence is not ours to tell.
   */
  async deactivate(userId: string, id: string, origin: RequestOrigin): Promise<void> {
    await this.db.transaction(async (tx) => {
      const { affected } = await tx.update(ApiKey, { id, userId, isActive: true }, { isActive: false });
      if (affected) {
        const by = { id: userId, origin };
        await this.audit.record({ action: 'key.deactivated', by, subjectId: userId, targetId: id }, tx);
      } else if (!(await tx.existsBy(ApiKey, { id, userId }))) throw ApiKeyErrors.notFound();
    });
    this.known.evictWhere((key) => key.id === id.toLowerCase());
  }

  /** Ends all keys of a user; call {@link forget} after the commit. */
  async deactivateAll(userId: string, tx: EntityManager): Promise<void> {
    await tx.update(ApiKey, { userId, isActive: true }, { isActive: false });
  }

  /** Makes this process ask the database about a user's keys again: after the commit of a change to him or them. */
  forget(userId: string): void {
    this.known.evictWhere((key) => key.userId === userId);
  }

  /**
   * The key and its owner, when the text is a key that opens something now; else null. At most a second behind the
   * database, which garbage never reaches.
   */
  async authenticate(text: string): Promise<OwnedApiKey | null> {
    if (!isWellFormedApiKey(text)) return null;
    const apiKey = await this.known.get(hashApiKey(text));
    return apiKey?.user.isActive && apiKey.isUsable(this.clock.now()) ? apiKey : null;
  }

  private async readKnown(hashes: readonly string[]): Promise<Map<string, OwnedApiKey>> {
    const keys = await this.db
      .createQueryBuilder(ApiKey, 'key')
      .addSelect('key.keyHash')
      .innerJoinAndSelect('key.user', 'user')
      .where({ keyHash: In([...hashes]) })
      .getMany();
    return new Map((keys as OwnedApiKey[]).map((key) => [key.keyHash, key]));
  }
}

/** @throws ApiError `rate_limit_above_plan`. */
function rateWithinPlan(wanted: number | undefined, plan: Plan): number {
  if (wanted !== undefined && wanted > plan.keyRatePerMinuteMax) {
    throw ApiKeyErrors.rateLimitAbovePlan(plan.keyRatePerMinuteMax, plan.name);
  }
  return wanted ?? Math.min(KEY_RATE_PER_MINUTE_DEFAULT, plan.keyRatePerMinuteMax);
}
