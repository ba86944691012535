import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { Logger } from 'pino';
import { EntityManager, IsNull } from 'typeorm';
import { LOG } from '../../common/log-token';
import { Derivation } from '../crypto/derivation';
import { headMac, isEventMac, isHead, linkOf } from './audit-chain';
import { AuditEvent } from './audit-event.entity';
import { AuditHead } from './audit-head.entity';

const INTERVAL_MS = 1_000;
const BATCH_MAX = 1_000;

/** Gives committed events their place in the chain, once a second; what a process leaves behind the next one seals. */
@Injectable()
export class AuditSealer implements OnApplicationShutdown {
  private sealing: Promise<void> | undefined;
  private isFailing = false;
  private readonly timer = setInterval(() => {
    this.sealing ??= this.sealQuietly();
  }, INTERVAL_MS).unref();

  constructor(
    private readonly db: EntityManager,
    private readonly derivation: Derivation,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** The last events are sealed before the connections close. */
  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.sealing;
    await this.sealQuietly();
  }

  /** Seals everything that was committed before this call. Of several processes one works and the others wait for it. */
  async seal(): Promise<void> {
    while (await this.db.existsBy(AuditEvent, { position: IsNull() })) {
      const head = await this.db.transaction((tx) => this.sealBatch(tx));
      // The log is kept elsewhere than the database: a head in it testifies to all events up to there.
      if (head) this.log.info({ audit_head: head }, 'audit log sealed');
    }
  }

  /**
   * @returns the new head, or undefined when another process was faster.
   * @throws Error when the end of the chain or a new event is not what the service wrote: to seal it would cover that up.
   */
  private async sealBatch(tx: EntityManager): Promise<string | undefined> {
    const [head] = await tx.find(AuditHead, { lock: { mode: 'pessimistic_write' } });
    if (!head || !isHead(this.derivation, head)) throw new Error('Somebody has tampered with audit_head.');
    const events = await tx.find(AuditEvent, {
      where: { position: IsNull() },
      order: { id: 'ASC' },
      take: BATCH_MAX,
    });
    if (events.length === 0) return undefined;

    let position = Number(head.position);
    let { link } = head;
    for (const event of events) {
      if (!isEventMac(this.derivation, event, event.mac))
        throw new Error(`Somebody has made up or changed the audit event ${event.id}.`);
      if (Number(event.seenPosition) > position)
        throw new Error('Somebody has taken the audit log back to an earlier state.');
    }
    const sealed = events.map(({ id, mac }) => {
      position += 1;
      link = linkOf(this.derivation, position, link, mac);
      return { id, position, link };
    });
    await tx.query(
      `UPDATE audit_events SET position = sealed.position, link = sealed.link
       FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS sealed (id, position, link)
       WHERE audit_events.id = sealed.id`,
      [
        sealed.map((event) => event.id),
        sealed.map((event) => event.position),
        sealed.map((event) => event.link),
      ],
    );
    const mac = headMac(this.derivation, position, link);
    await tx.query('UPDATE audit_head SET position = $1, link = $2, mac = $3', [position, link, mac]);
    return `${position}:${link.toString('hex')}`;
  }

  /** A failure is logged once, and tried again every second. */
  private async sealQuietly(): Promise<void> {
    try {
      await this.seal();
      this.isFailing = false;
    } catch (error) {
      if (!this.isFailing) this.log.error({ err: error }, 'audit log not sealed');
      this.isFailing = true;
    } finally {
      this.sealing = undefined;
    }
  }
}
