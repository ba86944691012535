import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import type { Tier } from '../common/principal';
import { BillingAccount } from './billing-account.entity';
import type { KnownSubscription } from './entitlement';

/** The newest event of one subscription. */
@Entity('polar_subscriptions')
export class PolarSubscriptionRow implements KnownSubscription {
  @PrimaryColumn('text')
  id!: string;

  @Index()
  @Column('uuid')
  userId!: string;

  @ManyToOne(() => BillingAccount, { nullable: false, onDelete: 'RESTRICT' })
  @JoinColumn({ name: 'user_id' })
  account?: BillingAccount;

  @Column('text')
  status!: string;

  @Column('text')
  productId!: string;

  @Column('text', { nullable: true })
  tier!: Tier | null;

  @Column('boolean')
  cancelAtPeriodEnd!: boolean;

  /** As Polar wrote it. */
  @Column('text', { nullable: true })
  periodStart!: string | null;

  @Column('text', { nullable: true })
  periodEnd!: string | null;

  @Column('text', { nullable: true })
  pendingProductId!: string | null;

  /** Microseconds since the Unix epoch: exact as a double until the year 2255. */
  @Column('double precision')
  atUs!: number;
}
