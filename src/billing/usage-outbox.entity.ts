import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** Waiting, taken by Polar, or refused by it for what it says. */
export type OutboxStatus = 'pending' | 'sent' | 'dead';

/**
 * An amount of a meter on its way to Polar. Its id makes the `external_id` that Polar counts once for ever, so it may be
 * sent as often as it takes.
 */
@Entity('usage_outbox')
@Index(['status', 'nextAttemptAt'], { where: `status <> 'sent'` })
@Index(['userId', 'meter'])
export class UsageOutbox {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid')
  userId!: string;

  @Column('text')
  meter!: string;

  @Column('bigint')
  amount!: string;

  @Column('timestamptz')
  createdAt!: Date;

  @Column('text')
  status!: OutboxStatus;

  @Column('integer', { default: 0 })
  attempts!: number;

  /** Not before; while it is being sent, when another process may take it over. */
  @Column('timestamptz')
  nextAttemptAt!: Date;

  @Column('timestamptz', { nullable: true })
  sentAt!: Date | null;

  @Column('text', { nullable: true })
  error!: string | null;
}
