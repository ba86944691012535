import type { EntityManager } from 'typeorm';
import type { Derivation } from '../crypto/derivation';
import { digestOf, isEventMac, isHead, linkOf } from './audit-chain';
import type { AuditDetails } from './audit-details.entity';
import type { AuditEvent } from './audit-event.entity';
import { AuditHead } from './audit-head.entity';

const PROBLEMS_SHOWN_MAX = 100;

/** One snapshot of the log in the order of the chain, events without a position last, each with what stands where it saw the end. */
const READ_SQL = `
  DECLARE audit_log NO SCROLL CURSOR FOR
  SELECT event.id, event.occurred_at AS "occurredAt", event.action, event.actor, event.subject_id AS "subjectId",
         event.target_id AS "targetId", event.result, event.request_id AS "requestId",
         event.details_digest AS "detailsDigest", event.seen_position AS "seenPosition", event.seen_link AS "seenLink",
         event.mac, event.position, event.link, seen.link AS "linkAtSeen",
         personal.event_id AS "eventId", personal.ip, personal.user_agent AS "userAgent", personal.details, personal.salt
  FROM audit_events event
  LEFT JOIN audit_details personal ON personal.event_id = event.id
  LEFT JOIN audit_events seen ON seen.position = event.seen_position
  ORDER BY event.position NULLS LAST, event.id`;

/** An event, its personal part, and the link at the position where it saw the end. */
interface Row extends AuditEvent, Omit<AuditDetails, 'eventId' | 'event'> {
  /** Null: the personal part is erased. */
  readonly eventId: string | null;
  readonly linkAtSeen: Buffer | null;
}

/** What a verification found. */
export interface AuditFindings {
  /** What is wrong, a line each; no more than the first hundred. Empty: the log is whole. */
  readonly problems: readonly string[];
  /** How many problems there are in all. */
  readonly problemsCount: number;
  readonly eventsCount: number;
  /** Recorded, but not in the chain yet. */
  readonly unsealedCount: number;
  /** Their personal part was erased. */
  readonly erasedCount: number;
  /** Position and link of the last event in the chain, to be noted somewhere else. */
  readonly head: string;
}

/**
 * Reads the whole log and finds what was changed, taken out, put in or moved; it changes nothing, and new events do not
 * disturb it.
 * @param knownHead a head that was noted earlier, as `position:link`: it must still be in the chain.
 */
export async function verifyAudit(
  db: EntityManager,
  derivation: Derivation,
  knownHead?: string,
): Promise<AuditFindings> {
  return db.transaction('REPEATABLE READ', async (tx) => {
    const check = new ChainCheck(derivation, knownHead);
    const heads = await tx.find(AuditHead);
    await tx.query(READ_SQL);
    const fetch = (): Promise<Row[]> => tx.query<Row[]>('FETCH 1000 FROM audit_log');
    for (let rows = await fetch(); rows.length > 0; rows = await fetch())
      for (const row of rows) check.event(row, heads[0]);
    await tx.query('CLOSE audit_log');
    check.end(heads);
    return check.findings();
  });
}

/** Walks along the chain. */
class ChainCheck {
  private readonly problems: string[] = [];
  private problemsCount = 0;
  private eventsCount = 0;
  private unsealedCount = 0;
  private erasedCount = 0;
  private isKnownHeadSeen = false;
  /** The last event in the chain so far. */
  private position = 0;
  private link: Buffer = Buffer.alloc(0);

  constructor(
    private readonly derivation: Derivation,
    private readonly knownHead: string | undefined,
  ) {}

  event(row: Row, head: AuditHead | undefined): void {
    this.eventsCount += 1;
    if (row.position === null) this.unsealedCount += 1;
    if (row.eventId === null) this.erasedCount += 1;

    const place = row.position === null ? 'not sealed yet' : `position ${row.position}`;
    const fault = this.linkFault(row) ?? this.ownFault(row) ?? this.seenFault(row, head);
    if (fault) this.report(`Event ${row.id} (${place}) ${fault}.`);
  }

  end(heads: readonly AuditHead[]): void {
    const [head] = heads;
    const isWhole = head && isHead(this.derivation, head);
    if (!head || heads.length > 1) this.report(`audit_head has ${heads.length} rows instead of one.`);
    else if (!isWhole) this.report('audit_head was changed.');
    else if (Number(head.position) > this.position)
      this.report(missing(this.position + 1, Number(head.position)));
    else if (Number(head.position) < this.position || !head.link.equals(this.link))
      this.report('audit_head does not name the last event of the chain.');
    if (this.knownHead !== undefined && !this.isKnownHeadSeen)
      this.report(`The head ${this.knownHead} is not in the chain any more.`);
  }

  findings(): AuditFindings {
    const { problems, problemsCount, eventsCount, unsealedCount, erasedCount } = this;
    const head = headName(this.position, this.link);
    return { problems, problemsCount, eventsCount, unsealedCount, erasedCount, head };
  }

  /** Takes the next step along the chain. Every step begins at the link that is stored, so a fault is named once. */
  private linkFault({ position, link, mac }: Row): string | undefined {
    if (position === null) return link === null ? undefined : 'has a link without a position';
    const [before, expected] = [this.link, this.position + 1];
    this.position = Number(position);
    this.link = link ?? Buffer.alloc(0);
    this.isKnownHeadSeen ||= headName(this.position, this.link) === this.knownHead;
    if (this.position < expected) return 'has a position that is not its own';
    if (this.position > expected) {
      // What is gone cannot be walked over: the chain is taken up again behind the gap.
      this.report(missing(expected, this.position - 1));
      return undefined;
    }
    return linkOf(this.derivation, this.position, before, mac).equals(this.link)
      ? undefined
      : 'does not follow the event before it: one of the two was taken out, put in or moved';
  }

  private ownFault(row: Row): string | undefined {
    if (!isEventMac(this.derivation, row, row.mac)) return 'was changed, or was not written by this service';
    const { eventId, detailsDigest } = row;
    const isErasedOrSame = eventId === null || digestOf({ ...row, eventId }).equals(detailsDigest);
    return isErasedOrSame ? undefined : 'has another personal part than it had';
  }

  /** What the event saw as the end of the chain must still be there, before it. */
  private seenFault(
    { position, seenPosition, seenLink, linkAtSeen }: Row,
    head: AuditHead | undefined,
  ): string | undefined {
    const end = position === null ? Number(head?.position ?? 0) + 1 : Number(position);
    if (Number(seenPosition) >= end)
      return `was recorded after position ${seenPosition}, and now stands before it`;
    const isSame = linkAtSeen === null || linkAtSeen.equals(seenLink);
    return isSame ? undefined : `was recorded when another event stood at position ${seenPosition}`;
  }

  private report(problem: string): void {
    this.problemsCount += 1;
    if (this.problems.length < PROBLEMS_SHOWN_MAX) this.problems.push(problem);
  }
}

function headName(position: number, link: Buffer): string {
  return `${position}:${link.toString('hex')}`;
}

function missing(from: number, to: number): string {
  return from === to
    ? `The event at position ${from} is missing.`
    : `The events at positions ${from} to ${to} are missing.`;
}
