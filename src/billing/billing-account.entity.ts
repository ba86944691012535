import { Column, Entity, Index, JoinColumn, OneToOne, PrimaryColumn } from 'typeorm';
import { User } from '../users/user.entity';
import type { CustomerState, SubscriptionFacts } from './entitlement';

/** Why an account has no customer at Polar although it was tried. */
export type CustomerProblem =
  /** There is a customer with this address, and the user has not proven that it is his. */
  | 'email_not_verified'
  /** The customer with this address is another account's. */
  | 'email_of_another_customer';

/** What is known at Polar of an account. Rows come behind sign-up, never with it. */
@Entity('billing_accounts')
@Index(['syncAt'])
export class BillingAccount {
  @PrimaryColumn('uuid')
  userId!: string;

  @OneToOne(() => User, { nullable: false, onDelete: 'RESTRICT' })
  @JoinColumn({ name: 'user_id' })
  user?: User;

  @Column('text', { nullable: true, unique: true })
  polarCustomerId!: string | null;

  @Column('text', { nullable: true })
  customerProblem!: CustomerProblem | null;

  /** The newest whole state of the customer; null: none was seen. */
  @Column('jsonb', { nullable: true })
  state!: CustomerState | null;

  /** The subscription that decides, for those who ask; null: there was never one. */
  @Column('jsonb', { nullable: true })
  subscription!: SubscriptionFacts | null;

  /** When Polar is to be asked about the account; null: nothing is due. */
  @Column('timestamptz', { nullable: true })
  syncAt!: Date | null;

  /** How often asking has failed since it last went well. */
  @Column('integer', { default: 0 })
  syncFailures!: number;
}
