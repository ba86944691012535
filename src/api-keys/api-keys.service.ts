import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { ENV, type Env } from '../config/env';
import { type Actor, Audit } from '../platform/audit/audit';
import { Mailer } from '../platform/mail/mailer';
import { lockForSession } from '../users/lock-user';
import { plans } from '../users/plans';
import { ApiKeyAuthenticator } from './api-key-authenticator';
import { ApiKey } from './api-key.entity';
import { generateApiKey } from './api-key-secret';
import { lockActive, workingVersions } from './api-key-versions';
import { ApiKeyErrors } from './api-keys.errors';
import {
  addKey,
  type ApiKeyWithVersions,
  checkSettings,
  type KeySettings,
  type NewApiKey,
  rateWithinPlan,
} from './key-making';
import { KeyUses } from './key-uses';
import { knownPermissions } from './permissions';

/** So many keys are read at once, however many there are. */
const BATCH = 1_000;

/** The one answer that holds a key's text. */
export interface RevealedApiKey {
  readonly key: string;
  readonly apiKey: ApiKeyWithVersions;
}

@Injectable()
export class ApiKeysService {
  private readonly permissions: readonly string[];

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
    private readonly mailer: Mailer,
    private readonly authenticator: ApiKeyAuthenticator,
    private readonly uses: KeyUses,
    @Inject(ENV) private readonly env: Env,
  ) {
    this.permissions = knownPermissions(env.EXTRA_PERMISSIONS);
  }

  /**
   * Makes a key. The answer is the only moment its text exists outside its owner's hands.
   * @throws ApiError when the plan, the permissions or the expiry do not allow it; nothing is stored then.
   */
  async create(
    owner: Pick<UserPrincipal, 'userId' | 'sessionId'>,
    input: NewApiKey,
    origin: RequestOrigin,
    outer: EntityManager = this.db,
  ): Promise<RevealedApiKey> {
    const now = this.clock.now();
    checkSettings(input, this.permissions, now);
    const { userId } = owner;
    const secret = generateApiKey(input.environment ?? 'live');

    const apiKey = await outer.transaction(async (tx) => {
      // Locks the owner, so that two requests cannot both take the last free place.
      const user = await lockForSession(owner, tx);
      if (this.env.REQUIRE_EMAIL_VERIFICATION && !user.isVerified) throw ApiKeyErrors.emailNotVerified();
      const made = await addKey(user, input, secret, now, tx);
      await this.record('key.created', { id: userId, origin }, made, { name: made.name }, tx);
      await this.mailer.send('key_created', { keyId: made.id }, tx);
      return made;
    });
    return { key: secret.key, apiKey };
  }

  /** The active keys of a user and the newest of the others, at most 1,000 in all; newest first. */
  async list(userId: string): Promise<ApiKeyWithVersions[]> {
    return (await this.batch(userId)).sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /**
   * Reads all keys of a user in batches of 1,000: first the active ones, then the others, newest first among each.
   * @param after the last key of the batch before; default: from the first on.
   * @returns none when there is no further one.
   */
  async batch(userId: string, after?: ApiKey): Promise<ApiKeyWithVersions[]> {
    // What this process knows of their last use is part of the answer.
    await this.uses.write();
    const query = this.db
      .createQueryBuilder(ApiKey, 'key')
      .where('key.userId = :userId', { userId })
      .orderBy('key.isActive', 'DESC')
      .addOrderBy('key.id', 'DESC')
      .take(BATCH);
    if (after) query.andWhere('(key.isActive, key.id) < (:isActive, :id)', after);
    const keys = await query.getMany();
    const ids = keys.map(({ id }) => id);
    const versions = Map.groupBy(
      await workingVersions(ids, this.clock.now(), this.db),
      ({ apiKeyId }) => apiKeyId,
    );
    return keys.map((key) => Object.assign(key, { versions: versions.get(key.id) ?? [] }));
  }

  /** @throws ApiError `api_key_not_found` also for another user's key: its existence is not ours to tell. */
  async find(userId: string, id: string): Promise<ApiKeyWithVersions> {
    await this.uses.write();
    const key = await this.db.findOneBy(ApiKey, { id, userId });
    if (!key) throw ApiKeyErrors.notFound();
    return Object.assign(key, { versions: await workingVersions([id], this.clock.now(), this.db) });
  }

  /**
   * Changes what a key may do and how it is called; what is left out stays.
   * @throws ApiError as {@link create}, `api_key_not_found`, `api_key_inactive`.
   */
  async change(
    owner: Pick<UserPrincipal, 'userId' | 'sessionId'>,
    id: string,
    changes: Partial<KeySettings>,
    origin: RequestOrigin,
  ): Promise<ApiKeyWithVersions> {
    checkSettings(changes, this.permissions, this.clock.now());
    const { userId } = owner;
    await this.db.transaction(async (tx) => {
      const { tier } = await lockForSession(owner, tx);
      const key = await lockActive(userId, id, tx);
      if (changes.rateLimitPerMinute !== undefined) rateWithinPlan(changes.rateLimitPerMinute, plans[tier]);
      const names = Object.keys(changes);
      if (names.length === 0) return;
      await tx.update(ApiKey, { id }, changes);
      const details = { changed: names.join(', ') };
      await this.record('key.changed', { id: userId, origin }, key, details, tx);
    });
    this.authenticator.forgetKey(id);
    return this.find(userId, id);
  }

  /**
   * Ends a key, for good; doing it twice changes nothing.
   * @throws ApiError `api_key_not_found`.
   */
  async deactivate(userId: string, id: string, origin: RequestOrigin): Promise<void> {
    await this.db.transaction(async (tx) => {
      const { affected } = await tx.update(ApiKey, { id, userId, isActive: true }, { isActive: false });
      if (affected) {
        await this.record('key.deactivated', { id: userId, origin }, { id, userId }, {}, tx);
        await this.mailer.send('key_deactivated', { keyId: id }, tx);
      } else if (!(await tx.existsBy(ApiKey, { id, userId }))) throw ApiKeyErrors.notFound();
    });
    this.authenticator.forgetKey(id);
  }

  /** Ends all keys of a user, or those that got a secret since a moment; call {@link forget} after the commit. */
  async deactivateAll(userId: string, tx: EntityManager, since = new Date(0)): Promise<void> {
    await tx.query(
      `UPDATE api_keys SET is_active = false WHERE user_id = $1 AND is_active
         AND id IN (SELECT api_key_id FROM api_key_versions WHERE created_at >= $2)`,
      [userId, since],
    );
  }

  /** Ends all keys of a user and takes away what their owner wrote on them; call {@link forget} after the commit. */
  async eraseAll(userId: string, tx: EntityManager): Promise<void> {
    const nothing = { name: 'erased', metadata: {}, allowedIps: [], leakUrl: null };
    await tx.update(ApiKey, { userId }, { isActive: false, ...nothing });
  }

  /** Makes this process ask the database about a user's keys again: after the commit of a change to him or them. */
  forget(userId: string): void {
    this.authenticator.forgetUser(userId);
  }

  private record(
    action: 'key.created' | 'key.changed' | 'key.deactivated',
    by: Actor,
    { id, userId }: Pick<ApiKey, 'id' | 'userId'>,
    details: Record<string, string>,
    tx: EntityManager,
  ): Promise<void> {
    return this.audit.record({ action, by, subjectId: userId, targetId: id, details }, tx);
  }
}
