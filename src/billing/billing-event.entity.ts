import { Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';

/**
 * What became of a delivery: waiting (`received`), applied (`processed`), older than what is known (`stale`), of no
 * interest (`ignored`), about a customer nobody here is known to be yet (`unlinked`), not as documented (`failed`).
 */
export type BillingEventStatus = 'received' | 'processed' | 'stale' | 'ignored' | 'unlinked' | 'failed';

/** A webhook delivery of Polar's. Kept: Polar may send it again for 90 days. */
@Entity('billing_events')
@Unique(['webhookId'])
@Unique(['type', 'objectId', 'eventAt'])
@Index(['userId', 'id'])
@Index(['polarCustomerId'])
export class BillingEvent {
  @PrimaryColumn('uuid')
  id!: string;

  /** The same in every repetition of a delivery. Another endpoint gives the same fact another one. */
  @Column('text')
  webhookId!: string;

  @Column('text')
  type!: string;

  /** The id of what it is about; empty when that has none. With type and time it tells facts apart. */
  @Column('text')
  objectId!: string;

  @Column('timestamptz')
  eventAt!: Date;

  @Column('timestamptz')
  receivedAt!: Date;

  @Column('uuid', { nullable: true })
  userId!: string | null;

  @Column('text', { nullable: true })
  polarCustomerId!: string | null;

  @Column('text')
  status!: BillingEventStatus;

  /** The body as it was signed; null when it was erased with the person. */
  @Column('text', { nullable: true })
  payload!: string | null;

  @Column('text', { nullable: true })
  error!: string | null;
}
