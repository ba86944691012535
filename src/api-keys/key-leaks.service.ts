import { Injectable } from '@nestjs/common';
import { EntityManager, In } from 'typeorm';
import { Clock } from '../common/clock';
import { type Actor, Audit } from '../platform/audit/audit';
import { Mailer } from '../platform/mail/mailer';
import { afterCommit } from '../platform/transactions/after-commit';
import { ApiKeyAuthenticator } from './api-key-authenticator';
import { ApiKey } from './api-key.entity';
import { hashApiKey } from './api-key-secret';
import { ApiKeyVersion } from './api-key-version.entity';

/** A text that was found where others can read it, and may be a key. */
export interface Leak {
  readonly text: string;
  /** The public address where it was found; null: not told. */
  readonly url: string | null;
}

/** Ends keys that others can read. */
@Injectable()
export class KeyLeaks {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
    private readonly mailer: Mailer,
    private readonly authenticator: ApiKeyAuthenticator,
  ) {}

  /**
   * Makes every key compromised of which a working secret was found, for good, and tells its owner; again changes nothing.
   * @returns of each leak, in their order, whether it is or was a key.
   */
  async report(leaks: readonly Leak[], reportedBy: 'github' | 'service', by: Actor): Promise<boolean[]> {
    const byHash = new Map(leaks.map((leak) => [hashApiKey(leak.text), leak]));
    const versions = await this.db
      .createQueryBuilder(ApiKeyVersion, 'version')
      .addSelect('version.keyHash')
      .innerJoinAndSelect('version.apiKey', 'key')
      .where({ keyHash: In([...byHash.keys()]) })
      .getMany();
    const nowMs = this.clock.nowMs();
    for (const { apiKey, expiresAt, keyHash } of versions) {
      const works = expiresAt === null || expiresAt.getTime() > nowMs;
      const details = { reported_by: reportedBy, url: byHash.get(keyHash)?.url ?? null };
      if (apiKey && works) await this.compromise(apiKey, details, by);
    }
    const known = new Set(versions.map(({ keyHash }) => keyHash));
    return leaks.map(({ text }) => known.has(hashApiKey(text)));
  }

  private async compromise(
    { id, userId }: ApiKey,
    details: { reported_by: string; url: string | null },
    by: Actor,
  ): Promise<void> {
    await this.db.transaction(async (tx) => {
      const ended = { isActive: false, compromisedAt: this.clock.now(), leakUrl: details.url };
      const { affected } = await tx.update(ApiKey, { id, isActive: true }, ended);
      if (!affected) return;
      await this.audit.record(
        { action: 'key.compromised', by, subjectId: userId, targetId: id, details },
        tx,
      );
      await this.mailer.send('key_compromised', { keyId: id }, tx);
      afterCommit(tx, () => {
        this.authenticator.forgetKey(id);
      });
    });
  }
}
