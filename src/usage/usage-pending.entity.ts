import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What a customer is billed by. */
export type Meter = 'tokens';

/**
 * What of the ledger is not yet on its way to billing, per customer and meter; written with the lines. Billing takes an
 * amount by moving it from `amount` to `taken`, so `amount + taken` is the sum of the ledger at any moment.
 */
@Entity('usage_pending')
export class UsagePending {
  @PrimaryColumn('uuid')
  userId!: string;

  @PrimaryColumn('text')
  meter!: Meter;

  @Column('numeric', { precision: 30, scale: 0 })
  amount!: string;

  @Column('numeric', { precision: 30, scale: 0, default: 0 })
  taken!: string;
}
