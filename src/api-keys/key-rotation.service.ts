import { Injectable } from '@nestjs/common';
import { EntityManager, MoreThan } from 'typeorm';
import { Clock } from '../common/clock';
import type { RequestOrigin } from '../common/origin';
import type { UserPrincipal } from '../common/principal';
import { Audit } from '../platform/audit/audit';
import { Mailer } from '../platform/mail/mailer';
import { afterCommit } from '../platform/transactions/after-commit';
import { lockForSession } from '../users/lock-user';
import { ApiKeyAuthenticator } from './api-key-authenticator';
import { ApiKey } from './api-key.entity';
import { generateApiKey } from './api-key-secret';
import { ApiKeyVersion } from './api-key-version.entity';
import { addVersion, endVersions, lockActive, workingVersions } from './api-key-versions';
import { ApiKeyErrors } from './api-keys.errors';
import type { RevealedApiKey } from './api-keys.service';

/** Secrets of one key that work at the same time. */
const VERSIONS_MAX = 5;
const HOUR_MS = 3_600_000;

/** New secrets for keys that stay what they are. */
@Injectable()
export class KeyRotation {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
    private readonly mailer: Mailer,
    private readonly authenticator: ApiKeyAuthenticator,
  ) {}

  /**
   * Gives a key a new secret. The old ones go on working for `overlapHours`, or until their own end if that is sooner;
   * all spend from the same limits.
   * @throws ApiError `api_key_not_found`, `api_key_inactive`, `too_many_api_key_versions`.
   */
  async rotate(
    owner: Pick<UserPrincipal, 'userId' | 'sessionId'>,
    id: string,
    overlapHours: number,
    origin: RequestOrigin,
    outer: EntityManager = this.db,
  ): Promise<RevealedApiKey> {
    const now = this.clock.now();
    const end = new Date(now.getTime() + overlapHours * HOUR_MS);
    const { userId } = owner;
    return outer.transaction(async (tx) => {
      await lockForSession(owner, tx);
      const apiKey = await lockActive(userId, id, tx);
      const working = await workingVersions([id], now, tx);
      if (overlapHours > 0 && working.length >= VERSIONS_MAX)
        throw ApiKeyErrors.tooManyVersions(VERSIONS_MAX);
      await endVersions(id, end, tx);
      const secret = generateApiKey(apiKey.environment);
      await addVersion(id, secret, now, tx);
      const by = { id: userId, origin };
      const details = { overlap_hours: String(overlapHours) };
      await this.audit.record({ action: 'key.rotated', by, subjectId: userId, targetId: id, details }, tx);
      await this.mailer.send('key_rotated', { keyId: id }, tx);
      afterCommit(tx, () => {
        this.authenticator.forgetKey(id);
      });
      return {
        key: secret.key,
        apiKey: Object.assign(apiKey, { versions: await workingVersions([id], now, tx) }),
      };
    });
  }

  /**
   * Ends an old secret before its time.
   * @throws ApiError `api_key_not_found`; `api_key_version_not_found`, also for the current one; `invalid_token` when the
   * session has ended meanwhile.
   */
  async endVersion(
    owner: Pick<UserPrincipal, 'userId' | 'sessionId'>,
    id: string,
    versionId: string,
    origin: RequestOrigin,
  ): Promise<void> {
    const now = this.clock.now();
    const { userId } = owner;
    await this.db.transaction(async (tx) => {
      await lockForSession(owner, tx);
      if (!(await tx.existsBy(ApiKey, { id, userId }))) throw ApiKeyErrors.notFound();
      const old = { id: versionId, apiKeyId: id, expiresAt: MoreThan(now) };
      const { affected } = await tx.update(ApiKeyVersion, old, { expiresAt: now });
      if (!affected) throw ApiKeyErrors.versionNotFound();
      const by = { id: userId, origin };
      const details = { version: versionId };
      await this.audit.record(
        { action: 'key.version_ended', by, subjectId: userId, targetId: id, details },
        tx,
      );
    });
    this.authenticator.forgetKey(id);
  }
}
