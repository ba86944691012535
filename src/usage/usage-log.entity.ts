import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** What is kept of the request itself. */
export interface UsageMetadata {
  /** Absent, as the next two are, where another service has served the call. */
  readonly path?: string;
  readonly method?: string;
  readonly status_code?: number;
  /** The caller's own end user, as the caller named him. */
  readonly end_user?: string;
  /** The call ended early: its tokens are an estimate. */
  readonly estimated?: true;
  /** What was reported with a call that was served elsewhere. */
  readonly reported?: Readonly<Record<string, unknown>>;
  /** The event that reported it. */
  readonly event?: { readonly source: string; readonly id: string };
}

/**
 * One line of the ledger: a metered call that was answered. Lines are only ever added. There are no foreign keys:
 * they would lock the owner's row in every batch, and neither users nor keys are ever deleted.
 * The table is partitioned by the month (UTC) of `createdAt`, so the key has to hold it; see `partitions.ts`.
 */
@Entity('usage_logs')
@Index(['userId', 'createdAt'])
export class UsageLog {
  @PrimaryColumn('uuid')
  userId!: string;

  /** The id of the request; it and the time are fixed before the first send, so a line written twice is one line. */
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid', { nullable: true })
  apiKeyId!: string | null;

  @Column('text')
  operation!: string;

  @Column('text', { nullable: true })
  provider!: string | null;

  @Column('text', { nullable: true })
  model!: string | null;

  @Column('integer')
  inputTokens!: number;

  @Column('integer')
  outputTokens!: number;

  /** Those of the input that the provider had in its cache. */
  @Column('integer', { default: 0 })
  cachedTokens!: number;

  @Column('integer')
  tokensUsed!: number;

  /** Exact, in nano-dollars after the point; a decimal string in the program. */
  @Column('numeric', { precision: 20, scale: 9 })
  costUsd!: string;

  /** Of the price book, by which the cost was computed. */
  @Column('integer', { default: 0 })
  priceVersion!: number;

  @Column('text', { nullable: true })
  ipAddress!: string | null;

  @Column('text', { nullable: true })
  userAgent!: string | null;

  @Column('jsonb')
  metadata!: UsageMetadata;

  /** When the call began. */
  @PrimaryColumn('timestamptz')
  createdAt!: Date;
}
