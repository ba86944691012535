import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** What Polar had counted for a customer and meter when it was last asked, and how that differs from what it was sent. */
@Entity('usage_comparisons')
@Index(['drift'], { where: 'drift <> 0' })
export class UsageComparison {
  @PrimaryColumn('uuid')
  userId!: string;

  @PrimaryColumn('text')
  meter!: string;

  /** All that was ever taken from the ledger for Polar, then. */
  @Column('numeric', { precision: 30, scale: 0 })
  taken!: string;

  @Column('numeric', { precision: 30, scale: 0 })
  polar!: string;

  /** More than sent (positive) or less (negative); what is on its way counts as neither. */
  @Column('numeric', { precision: 30, scale: 0 })
  drift!: string;

  @Column('timestamptz')
  checkedAt!: Date;
}
