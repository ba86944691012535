import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { User } from '../users/user.entity';

/** A key of a customer's backend. The key itself is not stored. */
@Entity('api_keys')
export class ApiKey {
  @PrimaryColumn('uuid')
  id!: string;

  @Index()
  @Column('uuid')
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'RESTRICT' })
  @JoinColumn({ name: 'user_id' })
  user?: User;

  @Column('text')
  name!: string;

  /** See `hashApiKey`. */
  @Column('text', { unique: true, select: false })
  keyHash!: string;

  @Column('text')
  keyPrefix!: string;

  @Column('boolean', { default: true })
  isActive!: boolean;

  @Column('jsonb', { default: {} })
  permissions!: Record<string, boolean>;

  @Column('integer')
  rateLimitPerMinute!: number;

  /** Most that its metered calls of a calendar month (UTC) may cost, in dollars; null: no cap. */
  @Column('numeric', { precision: 18, scale: 6, nullable: true })
  monthlyBudgetUsd!: string | null;

  @Column('timestamptz')
  createdAt!: Date;

  @Column('timestamptz', { nullable: true })
  lastUsed!: Date | null;

  @Column('timestamptz', { nullable: true })
  expiresAt!: Date | null;

  /** Whether the key opens anything at this moment, as far as it is up to the key. */
  isUsable(now: Date): boolean {
    return this.isActive && (this.expiresAt === null || this.expiresAt > now);
  }
}
