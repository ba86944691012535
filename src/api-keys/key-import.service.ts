import { Inject, Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { ApiError } from '../common/api-error';
import { Clock } from '../common/clock';
import { ENV, type Env } from '../config/env';
import { type Actor, Audit } from '../platform/audit/audit';
import { Mailer } from '../platform/mail/mailer';
import { User } from '../users/user.entity';
import { hashApiKey, OWN_KEY_BEGINNINGS } from './api-key-secret';
import { ApiKeyVersion } from './api-key-version.entity';
import { ApiKeyErrors } from './api-keys.errors';
import { addKey, checkSettings, type NewApiKey } from './key-making';
import { knownPermissions } from './permissions';

/** A key that was made elsewhere; what its text is, only its owner knows. */
export interface ForeignKey {
  /** The owner's address, in canonical form. */
  readonly email: string;
  /** SHA-256 of the key, in hex. */
  readonly hash: string;
  /** What the key begins with. */
  readonly prefix: string;
  readonly settings: NewApiKey;
}

/**
 * What became of a key: it is new here; its owner has it already; somebody else has it; or it cannot be taken, and why.
 */
export type ImportOutcome =
  | { readonly status: 'created' | 'duplicate'; readonly apiKeyId: string }
  | { readonly status: 'conflict' }
  | { readonly status: 'invalid'; readonly reason: ApiError };

/** Takes over keys of customers, who go on using them. */
@Injectable()
export class KeyImport {
  private readonly permissions: readonly string[];
  private readonly prefixes: readonly string[];

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
    private readonly mailer: Mailer,
    @Inject(ENV) env: Env,
  ) {
    this.permissions = knownPermissions(env.EXTRA_PERMISSIONS);
    this.prefixes = [...OWN_KEY_BEGINNINGS, ...env.IMPORTED_KEY_PREFIXES];
  }

  /** Takes over what can be taken, all in one transaction; the others are told apart by their outcome. */
  async import(
    keys: readonly ForeignKey[],
    by: Actor,
    outer: EntityManager = this.db,
  ): Promise<ImportOutcome[]> {
    return outer.transaction(async (tx) => {
      // One import at a time: two with the same keys, or the same owners in another order, would fail at each other.
      await tx.query(`SELECT pg_advisory_xact_lock(hashtext('cortex-auth:key-import'))`);
      const outcomes: ImportOutcome[] = [];
      for (const key of keys) outcomes.push(await this.importOne(key, by, tx));
      return outcomes;
    });
  }

  private async importOne(key: ForeignKey, by: Actor, tx: EntityManager): Promise<ImportOutcome> {
    try {
      return await this.take(key, by, tx);
    } catch (error) {
      // Refusals come before anything is written.
      if (error instanceof ApiError) return { status: 'invalid', reason: error };
      throw error;
    }
  }

  private async take(
    { email, hash, prefix, settings }: ForeignKey,
    by: Actor,
    tx: EntityManager,
  ): Promise<ImportOutcome> {
    if (!this.prefixes.some((known) => prefix.startsWith(known)))
      throw ApiKeyErrors.unknownKeyPrefix(this.prefixes);
    if (hashApiKey(prefix) === hash) throw ApiKeyErrors.prefixIsKey();
    const now = this.clock.now();
    checkSettings(settings, this.permissions, now);
    const owner = await tx.findOne(User, { where: { email }, lock: { mode: 'pessimistic_write' } });
    if (!owner) throw ApiKeyErrors.nobodysAddress();
    // Anybody can sign up with the address of somebody whose keys are to come.
    if (!owner.isVerified || !owner.isActive) throw ApiKeyErrors.unprovenAddress();

    const known = await tx.findOne(ApiKeyVersion, { where: { keyHash: hash }, relations: { apiKey: true } });
    if (known)
      return known.apiKey?.userId === owner.id
        ? { status: 'duplicate', apiKeyId: known.apiKeyId }
        : { status: 'conflict' };

    const { id } = await addKey(owner, settings, { hash, prefix }, now, tx);
    const details = { name: settings.name };
    await this.audit.record({ action: 'key.imported', by, subjectId: owner.id, targetId: id, details }, tx);
    await this.mailer.send('key_imported', { keyId: id }, tx);
    return { status: 'created', apiKeyId: id };
  }
}
