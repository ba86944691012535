import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * The sums of the ledger by calendar month (UTC), of an account and of each of its keys; written with the lines.
 * Caps are held against these rows, so whoever sets something aside locks them.
 */
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

  /** What the holds of calls under way have set aside. */
  @Column('bigint', { default: 0 })
  heldTokens!: string;

  @Column('numeric', { precision: 30, scale: 9, default: 0 })
  heldUsd!: string;

  /** The highest percentage of the budget, and of the plan's tokens, that its owner was told of. */
  @Column('smallint', { default: 0 })
  budgetAlert!: number;

  @Column('smallint', { default: 0 })
  quotaAlert!: number;
}
