import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { User } from '../users/user.entity';

/** A token that was mailed. The token itself is derived from the row's id, so no table holds it. */
@Entity('one_time_tokens')
@Index(['userId', 'purpose'], { unique: true, where: "purpose <> 'undo_email'" })
@Index(['userId'], { where: "purpose = 'undo_email'" })
export class OneTimeToken {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid')
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'user_id' })
  user?: User;

  @Column('text')
  purpose!: TokenPurpose;

  /** Of a change of address: the new one; of its undoing: the old one. */
  @Column('text', { nullable: true })
  email!: string | null;

  @Column('timestamptz')
  createdAt!: Date;

  @Column('timestamptz')
  expiresAt!: Date;

  @Column('timestamptz', { nullable: true })
  usedAt!: Date | null;
}

/**
 * What a mailed token is for; it opens nothing else. That of a `sign_up_attempt` opens nothing, and is never told: it
 * lets the two answers to a sign-up cost the same, and of many notices in an hour sends one.
 */
export type TokenPurpose =
  'verify_email' | 'sign_up_attempt' | 'reset_password' | 'change_email' | 'undo_email';
