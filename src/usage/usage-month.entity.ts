import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The sums of the ledger by calendar month (UTC), of an account and of each of its keys; written with the lines. */
@Entity('usage_months')
export class UsageMonth {
  @PrimaryColumn('uuid')
  userId!: string;

  /** The id of a key, or that of the user for the whole account. */
  @PrimaryColumn('uuid')
  scopeId!: string;

  /** The first day of the month. */
  @PrimaryColumn('date')
  month!: string;

  @Column('bigint')
  requests!: string;

  @Column('bigint')
  tokens!: string;

  @Column('numeric', { precision: 30, scale: 9 })
  costUsd!: string;
}
