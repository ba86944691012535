import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What a roll-up says instead of null, which a primary key cannot hold. */
export const NO_API_KEY = '00000000-0000-0000-0000-000000000000';

/**
 * The sums of the ledger by hour, key and what was called, written by the statement that writes the lines. From hours,
 * days and months of almost every time zone can be read.
 */
@Entity('usage_hours')
export class UsageHour {
  @PrimaryColumn('uuid')
  userId!: string;

  /** The beginning of the hour. */
  @PrimaryColumn('timestamptz')
  hour!: Date;

  /** {@link NO_API_KEY} for none. */
  @PrimaryColumn('uuid')
  apiKeyId!: string;

  @PrimaryColumn('text')
  operation!: string;

  /** Empty for none, as is the model. */
  @PrimaryColumn('text')
  provider!: string;

  @PrimaryColumn('text')
  model!: string;

  @Column('bigint')
  requests!: string;

  @Column('bigint')
  inputTokens!: string;

  @Column('bigint')
  outputTokens!: string;

  @Column('numeric', { precision: 30, scale: 9 })
  costUsd!: string;
}
