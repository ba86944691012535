import { Injectable } from '@nestjs/common';
import { EntityManager } from 'typeorm';
import { Clock } from '../common/clock';
import { type Actor, Audit } from '../platform/audit/audit';
import { afterCommit } from '../platform/transactions/after-commit';
import { ApiKeyAuthenticator } from './api-key-authenticator';
import { ApiKey } from './api-key.entity';
import { workingVersions } from './api-key-versions';
import { ApiKeyErrors } from './api-keys.errors';
import type { ApiKeyWithVersions } from './key-making';

/** What only the operator does to keys, whoever has them. */
@Injectable()
export class KeyAdministration {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
    private readonly authenticator: ApiKeyAuthenticator,
  ) {}

  /**
   * Gives a key exactly these service permissions.
   * @throws ApiError `no_such_api_key`.
   */
  async grant(id: string, servicePermissions: string[], by: Actor): Promise<ApiKeyWithVersions> {
    return this.db.transaction(async (tx) => {
      const key = await tx.findOne(ApiKey, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!key) throw ApiKeyErrors.nobodys();
      await tx.update(ApiKey, { id }, { servicePermissions });
      const details = { service_permissions: servicePermissions.join(', ') };
      await this.audit.record(
        { action: 'key.granted', by, subjectId: key.userId, targetId: id, details },
        tx,
      );
      afterCommit(tx, () => {
        this.authenticator.forgetKey(id);
      });
      const versions = await workingVersions([id], this.clock.now(), tx);
      return Object.assign(key, { servicePermissions, versions });
    });
  }
}
