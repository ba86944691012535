import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** The most that a call under way may consume: set aside when it begins, let go of when it ends. */
@Entity('usage_holds')
export class UsageHold {
  @PrimaryColumn('uuid')
  userId!: string;

  /** The id of the call, and of the ledger line it may leave. */
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid', { nullable: true })
  apiKeyId!: string | null;

  /** The first day of the month (UTC) it is held in, which is the call's for good. */
  @Column('date')
  month!: string;

  @Column('bigint')
  tokens!: string;

  @Column('numeric', { precision: 30, scale: 9 })
  costUsd!: string;

  /** When it is let go of if nobody came back, because its process died. */
  @Index()
  @Column('timestamptz')
  expiresAt!: Date;
}
