import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * The identity of what another service has reported, kept for ever: the same event is booked once, however often and
 * however late it is sent again. Written by the statement that writes its line. Only digests are kept of what was sent.
 */
@Entity('usage_events')
export class UsageEvent {
  /** Whose key has reported it: identities of one reporter are nothing to another. */
  @PrimaryColumn('uuid')
  userId!: string;

  /** Digest of the event's source and id. */
  @PrimaryColumn('bytea')
  identity!: Buffer;

  /** Digest of what it said. */
  @Column('bytea')
  fingerprint!: Buffer;

  /** Its line in the ledger. */
  @Column('uuid')
  lineId!: string;
}
