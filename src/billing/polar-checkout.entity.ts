import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { User } from '../users/user.entity';

/** The open checkout of a user for a product: while it is open he gets it again, so that he cannot pay twice. */
@Entity('polar_checkouts')
export class PolarCheckoutRow {
  @PrimaryColumn('uuid')
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'RESTRICT' })
  @JoinColumn({ name: 'user_id' })
  user?: User;

  @PrimaryColumn('text')
  productId!: string;

  /** Null while it is being made. */
  @Column('text', { nullable: true })
  url!: string | null;

  /** Where its customer comes back to. */
  @Column('text', { nullable: true })
  returnUrl!: string | null;

  /** Of the checkout; while it is being made, when another request may try. */
  @Column('timestamptz')
  expiresAt!: Date;
}
