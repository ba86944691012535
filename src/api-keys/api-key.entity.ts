import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import type { Environment } from '../common/principal';
import { User } from '../users/user.entity';

/**
 * A key of a customer's backend: its name, permissions, limits and usage. Its secrets are {@link ApiKeyVersion}s:
 * rotating the key adds one, and all of them spend from the same limits.
 */
@Entity('api_keys')
@Index(['userId', 'isActive', 'id'])
export class ApiKey {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid')
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'RESTRICT' })
  @JoinColumn({ name: 'user_id' })
  user?: User;

  @Column('text')
  name!: string;

  @Column('text', { default: 'live' })
  environment!: Environment;

  @Column('boolean', { default: true })
  isActive!: boolean;

  /** Empty: every ordinary operation. */
  @Column('jsonb', { default: {} })
  permissions!: Record<string, boolean>;

  /** What an admin has granted; see `permissions.ts`. */
  @Column('text', { array: true, default: [] })
  servicePermissions!: string[];

  /** Addresses and CIDR ranges that may use the key; empty: all. */
  @Column('text', { array: true, default: [] })
  allowedIps!: string[];

  @Column('integer')
  rateLimitPerMinute!: number;

  /** Most that its metered calls of a calendar month (UTC) may cost, in dollars; null: no cap. */
  @Column('numeric', { precision: 18, scale: 6, nullable: true })
  monthlyBudgetUsd!: string | null;

  /** The owner's own notes. */
  @Column('jsonb', { default: {} })
  metadata!: Record<string, string>;

  @Column('timestamptz')
  createdAt!: Date;

  /** The last request that showed one of its secrets; up to a second late. */
  @Column('timestamptz', { nullable: true })
  lastUsed!: Date | null;

  @Column('timestamptz', { nullable: true })
  expiresAt!: Date | null;

  /** When it was reported as leaked, which ended it. */
  @Column('timestamptz', { nullable: true })
  compromisedAt!: Date | null;

  /** The public address where it was found, if the report says so. */
  @Column('text', { nullable: true })
  leakUrl!: string | null;
}
