import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { Tier } from '../common/principal';
import { tierInForce } from './plans';

/** An account. */
@Entity('users')
export class User {
  @PrimaryColumn('uuid')
  id!: string;

  /** In canonical form (see `canonical-email.ts`), so that one mailbox is one account. */
  @Column('text', { unique: true })
  email!: string;

  /** argon2id, or bcrypt of a user taken over from the legacy service until he logs in. */
  @Column('text', { select: false })
  passwordHash!: string;

  @Column('text', { nullable: true })
  firstName!: string | null;

  @Column('text', { nullable: true })
  lastName!: string | null;

  @Column('text', { nullable: true })
  company!: string | null;

  @Column('text', { default: 'user' })
  role!: 'user' | 'admin';

  /** False: suspended; refused everywhere. */
  @Column('boolean', { default: true })
  isActive!: boolean;

  @Column('boolean', { default: false })
  isVerified!: boolean;

  @Column('boolean', { default: false })
  twoFactorEnabled!: boolean;

  /** Written by billing only. */
  @Column('text', { default: 'free' })
  billingTier!: Tier;

  /** Written by an admin only; wins over {@link billingTier}. */
  @Column('text', { nullable: true })
  tierOverride!: Tier | null;

  /** Most that metered calls of a calendar month (UTC) may cost, in dollars; null: no cap. */
  @Column('numeric', { precision: 18, scale: 6, nullable: true })
  monthlyBudgetUsd!: string | null;

  @Column('timestamptz')
  createdAt!: Date;

  @Column('timestamptz')
  updatedAt!: Date;

  @Column('timestamptz', { nullable: true })
  lastLogin!: Date | null;

  get tier(): Tier {
    return tierInForce(this);
  }
}
