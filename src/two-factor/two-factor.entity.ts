import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { User } from '../users/user.entity';

/** A user's authenticator: the one in use, and beside it at most one that is being set up. */
@Entity('two_factors')
@Index(['userId'], { unique: true, where: 'enabled_at IS NOT NULL' })
@Index(['userId'], { unique: true, where: 'enabled_at IS NULL' })
export class TwoFactor {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid')
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'user_id' })
  user?: User;

  /** Which key {@link sealed} is under. */
  @Column('text')
  keyId!: string;

  /** The secret that the app shares, encrypted for this user alone. */
  @Column('bytea')
  sealed!: Buffer;

  /** The time step of the last code that was accepted: neither it nor an earlier one is accepted again. */
  @Column('integer', { default: 0 })
  lastStep!: number;

  /** Salt of the backup codes. */
  @Column('bytea')
  backupSalt!: Buffer;

  @Column('timestamptz')
  createdAt!: Date;

  /** Null: being set up. */
  @Column('timestamptz', { nullable: true })
  enabledAt!: Date | null;

  /** From then on a log-in without a code turns it off, because an admin said so and the owner did not stop it. */
  @Column('timestamptz', { nullable: true })
  resetAt!: Date | null;

  /** Names the reset that waits, in the link that stops it. */
  @Column('uuid', { nullable: true, unique: true })
  resetId!: string | null;
}
