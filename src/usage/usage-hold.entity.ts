import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { UsageLog } from './usage-log.entity';

/** A call that another service serves: who holds room for it, and what prices it when it ends. */
export interface ServedElsewhere {
  readonly reporterId: string;
  readonly operation: string;
  readonly provider: string | null;
  readonly model: string | null;
  /** When it was held, RFC 3339 in UTC: also the time of its line, which so belongs to the month it is held in. */
  readonly begunAt: string;
}

/** A line of the ledger in JSON, where a time is a text. */
export type StoredLine = Omit<UsageLog, 'createdAt'> & { readonly createdAt: string };

/** The most that a call under way may consume: set aside when it begins, let go of when it ends. */
@Entity('usage_holds')
@Index(['id'], { where: 'served_elsewhere IS NOT NULL' })
export class UsageHold {
  @PrimaryColumn('uuid')
  userId!: string;

  /** The id of the request; what another service holds has an id of its own. */
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

  /** Null: this service serves the call itself. */
  @Column('jsonb', { nullable: true })
  servedElsewhere!: ServedElsewhere | null;

  /** Of a streamed call: its line in the ledger should its process die. Nothing personal is in it. */
  @Column('jsonb', { nullable: true })
  lineIfLost!: StoredLine | null;

  /** When it is let go of if nobody came back, because its process died. */
  @Index()
  @Column('timestamptz')
  expiresAt!: Date;
}
