import { createHash } from 'node:crypto';
import type { Derivation } from '../crypto/derivation';
import type { AuditDetails } from './audit-details.entity';
import type { AuditEvent } from './audit-event.entity';
import type { AuditHead } from './audit-head.entity';

/*
 * How the log is protected. Three things are signed, each by HMAC-SHA-256 under a key that is derived from SECRET_KEY,
 * so that write access to the database is not enough to forge one:
 *
 *   an event    when it is recorded, in the transaction of what it describes: its columns, the digest of its personal
 *               part, and the end of the chain as it was then. So nothing can be changed or made up.
 *   its link    when it is sealed: its position and MAC, over the link before it. So nothing can be taken out, put in
 *               between or moved.
 *   the head    with every sealing: the last position and its link. So nothing can be cut off at the end.
 *
 * Why recording and sealing are two steps: a link needs the link before it, so whoever makes one waits until whoever
 * made the one before has committed. Done while recording, that is one lock around the commits of all log-ins of all
 * processes. So recording only inserts, and AuditSealer gives committed events their positions afterwards, many in one
 * transaction, under the lock of the one row of `audit_head`. What rolled back never gets a position, so there are no
 * gaps; what commits late gets a later one, so nothing waits for it.
 *
 * Why an event signs the end it saw: sealing gives a position to whatever has none. Without it, one could take an event
 * out, empty all positions, and let the service seal the rest anew.
 *
 * What all this detects, and what it cannot, stands in docs/audit.md.
 */

/** What the MAC of an event covers. */
export type SignedEvent = Omit<AuditEvent, 'mac' | 'position' | 'link'>;

export function eventMac(derivation: Derivation, event: SignedEvent): Buffer {
  return derivation.mac('audit', eventText(event));
}

export function isEventMac(derivation: Derivation, event: SignedEvent, mac: Buffer): boolean {
  return eventMac(derivation, event).equals(mac);
}

/** The link of the event with this MAC at this position, from 1; before the first stands an empty one. */
export function linkOf(derivation: Derivation, position: number, before: Buffer, mac: Buffer): Buffer {
  return derivation.mac('audit', JSON.stringify(['link', position, hex(before), hex(mac)]));
}

export function headMac(derivation: Derivation, position: number, link: Buffer): Buffer {
  return derivation.mac('audit', JSON.stringify(['head', position, hex(link)]));
}

/** Whether a head is one of ours: signed, or the empty one that the migration made. */
export function isHead(derivation: Derivation, { position, link, mac }: AuditHead): boolean {
  if (position === '0') return link.length === 0;
  return headMac(derivation, Number(position), link).equals(mac);
}

/** SHA-256 over the personal part of an event. Without the salt in it, nobody can try out addresses on the digest. */
export function digestOf({ eventId, ip, userAgent, details, salt }: Omit<AuditDetails, 'event'>): Buffer {
  // PostgreSQL keeps no order of names.
  const sorted = Object.entries(details).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([eventId, ip, userAgent, sorted, hex(salt)]))
    .digest();
}

/** A list keeps its order and quotes what it holds, so no two events have the same text. */
function eventText(event: SignedEvent): string {
  return JSON.stringify([
    'event',
    event.id,
    event.occurredAt.toISOString(),
    event.action,
    event.actor,
    event.subjectId,
    event.targetId,
    event.result,
    event.requestId,
    hex(event.detailsDigest),
    event.seenPosition,
    hex(event.seenLink),
  ]);
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex');
}
