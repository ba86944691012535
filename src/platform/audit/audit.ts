import { randomBytes } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { And, EntityManager, type FindOptionsWhere, In, LessThan, MoreThanOrEqual } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../../common/clock';
import { LOG } from '../../common/log-token';
import type { RequestOrigin } from '../../common/origin';
import { type Page, pageOf, type PageRequest } from '../../common/pagination';
import { Derivation } from '../crypto/derivation';
import { ALWAYS, changeAtOnce, type Sql, sql } from '../database/one-statement';
import { queryPrepared } from '../database/prepared-statements';
import type { AuditAction } from './audit-actions';
import { digestOf, eventMac } from './audit-chain';
import { AuditDetails, type AuditWords } from './audit-details.entity';
import { AuditEvent, type AuditResult } from './audit-event.entity';
import type { AuditHead } from './audit-head.entity';

const SALT_BYTES = 16;
const HEAD_SQL = 'SELECT position, link FROM audit_head';

/** Who does something, and from where. */
export interface Actor {
  /** A user's id; `system` for the operator's commands; null for somebody who has not shown who he is. */
  readonly id: string | null;
  readonly origin: RequestOrigin | null;
}

/** The operator, on the command line. */
export const SYSTEM: Actor = { id: 'system', origin: null };

/** A security event to be recorded. */
export interface AuditEntry {
  readonly action: AuditAction;
  readonly by: Actor;
  /** The user whose account it is about. */
  readonly subjectId: string | null;
  /** What it was done to, when not the account as a whole: a session, an API key. */
  readonly targetId?: string;
  /** Default: success. */
  readonly result?: AuditResult;
  /** What else there is to say; it is erased with the person. Never a secret. */
  readonly details?: AuditWords;
}

/** Which events are read. */
export interface AuditFilter {
  /** Events about this user's account. */
  readonly subjectId?: string;
  /** Events about this user's account, and those he caused elsewhere. */
  readonly userId?: string;
  readonly action?: AuditAction;
  /** The first moment that counts. */
  readonly from?: Date;
  /** The first moment that does not count any more. */
  readonly to?: Date;
}

/** An event with its personal part, which is null once erased. */
export type ReadEvent = AuditEvent & { readonly personal: AuditDetails | null };

/** The log of security events: who did what to which account, when and from where. */
@Injectable()
export class Audit {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
    @Inject(LOG) private readonly log: Logger,
  ) {}

  /** Records an event in the transaction of what it describes: both are committed, or neither. It waits for nobody. */
  async record(entry: AuditEntry, tx: EntityManager): Promise<void> {
    await changeAtOnce(tx, ALWAYS, await this.recording(entry, tx));
  }

  /** The parts of a statement (`changeAtOnce`) that record an event, which has the time and the end of the chain of now. */
  async recording(entry: AuditEntry, db: EntityManager = this.db): Promise<readonly Sql[]> {
    const { action, by, subjectId, targetId = null, result = 'success', details = {} } = entry;
    // Read without a lock: an end that is no longer the last is as good a testimony.
    const [head] = await queryPrepared<Pick<AuditHead, 'position' | 'link'>>(db, HEAD_SQL, []);
    if (!head) throw new Error('audit_head is empty: somebody has tampered with the audit log.');
    const id = uuidv7();
    const personal = {
      eventId: id,
      ip: by.origin?.ip ?? null,
      userAgent: by.origin?.userAgent ?? null,
      details,
      salt: randomBytes(SALT_BYTES),
    };
    const event = {
      id,
      occurredAt: this.clock.now(),
      action,
      actor: by.id,
      // As PostgreSQL gives UUIDs back: the MAC covers their letters too.
      subjectId: subjectId?.toLowerCase() ?? null,
      targetId: targetId?.toLowerCase() ?? null,
      result,
      requestId: by.origin?.requestId ?? null,
      detailsDigest: digestOf(personal),
      seenPosition: head.position,
      seenLink: head.link,
    };
    const mac = eventMac(this.derivation, event);
    return [
      sql`
        INSERT INTO audit_events (id, occurred_at, action, actor, subject_id, target_id, result, request_id,
                                  details_digest, seen_position, seen_link, mac)
        SELECT ${id}, ${event.occurredAt}, ${event.action}, ${event.actor}, ${event.subjectId}, ${event.targetId},
               ${event.result}, ${event.requestId}, ${event.detailsDigest}, ${event.seenPosition}, ${event.seenLink}, ${mac}
        WHERE EXISTS (SELECT FROM condition)`,
      sql`
        INSERT INTO audit_details (event_id, ip, user_agent, details, salt)
        SELECT ${id}, ${personal.ip}, ${personal.userAgent}, ${personal.details}, ${personal.salt}
        WHERE EXISTS (SELECT FROM condition)`,
    ];
  }

  /** Writes an event to the process log only: for what changes nothing, such as a refused log-in. */
  note({ action, by, subjectId, result = 'success' }: AuditEntry): void {
    this.log.info(
      {
        action,
        actor: by.id,
        subject_id: subjectId,
        result,
        request_id: by.origin?.requestId,
        ip: by.origin?.ip,
        user_agent: by.origin?.userAgent,
      },
      'security event',
    );
  }

  /** Events that fit the filter, newest first. */
  async list(filter: AuditFilter, page: PageRequest): Promise<Page<ReadEvent>> {
    const events = await this.db.find(AuditEvent, {
      where: conditions(filter, page),
      order: { id: 'DESC' },
      take: page.limit + 1,
    });
    const parts = await this.db.findBy(AuditDetails, { eventId: In(events.map(({ id }) => id)) });
    const byEvent = new Map(parts.map((part) => [part.eventId, part]));
    return pageOf(
      events.map((event) => Object.assign(event, { personal: byEvent.get(event.id) ?? null })),
      page,
    );
  }

  /** Erases the personal part of every event about a user or by him; the events and their chain stay. */
  async erasePersonal(userId: string, tx: EntityManager): Promise<void> {
    await tx.query(
      `DELETE FROM audit_details USING audit_events
       WHERE audit_events.id = audit_details.event_id AND (subject_id = $1::uuid OR actor = $1::text)`,
      [userId],
    );
  }
}

function conditions(
  { subjectId, userId, action, from, to }: AuditFilter,
  { before }: PageRequest,
): FindOptionsWhere<AuditEvent>[] {
  const moments = [...(from ? [MoreThanOrEqual(from)] : []), ...(to ? [LessThan(to)] : [])];
  const all = {
    ...(subjectId !== undefined && { subjectId }),
    ...(action !== undefined && { action }),
    ...(moments.length > 0 && { occurredAt: And(...moments) }),
    ...(before !== null && { id: LessThan(before) }),
  };
  return userId === undefined
    ? [all]
    : [
        { ...all, subjectId: userId },
        { ...all, actor: userId },
      ];
}
