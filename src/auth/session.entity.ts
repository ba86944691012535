import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { User } from '../users/user.entity';

/** A refresh that comes later ends a session nobody used. */
const IDLE_MS_MAX = 7 * 24 * 60 * 60 * 1_000;
/** Then the user logs in again, however busy he was. */
const LIFE_MS_MAX = 30 * 24 * 60 * 60 * 1_000;

/**
 * One log-in, and the family of its refresh tokens. Access tokens name it as `sid`. A session ends by its row being
 * deleted: then neither its access tokens nor its refresh tokens open anything.
 */
@Entity('sessions')
export class Session {
  @PrimaryColumn('uuid')
  id!: string;

  @Index()
  @Column('uuid')
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'user_id' })
  user?: User;

  /** Which refresh token is the current one; every refresh raises it by one. */
  @Column('integer', { default: 0 })
  generation!: number;

  /** When the current refresh token took the place of the one before it. */
  @Column('timestamptz', { nullable: true })
  rotatedAt!: Date | null;

  @Column('timestamptz')
  createdAt!: Date;

  /** The log-in or the last refresh. */
  @Column('timestamptz')
  lastUsedAt!: Date;

  /** When its user last gave a second factor in it; a refresh does not change that. */
  @Column('timestamptz', { nullable: true })
  secondFactorAt!: Date | null;

  /** Of the last use; also the user agent. */
  @Column('text', { nullable: true })
  ipAddress!: string | null;

  @Column('text', { nullable: true })
  userAgent!: string | null;
}

/** Sessions that were made before the first and last used before the second of these moments are over. */
export function sessionHorizons(now: Date): { madeAfter: Date; usedAfter: Date } {
  return {
    madeAfter: new Date(now.getTime() - LIFE_MS_MAX),
    usedAfter: new Date(now.getTime() - IDLE_MS_MAX),
  };
}

/** When a session ends if nobody refreshes it again. */
export function sessionEnd({ createdAt, lastUsedAt }: Pick<Session, 'createdAt' | 'lastUsedAt'>): Date {
  return new Date(Math.min(createdAt.getTime() + LIFE_MS_MAX, lastUsedAt.getTime() + IDLE_MS_MAX));
}
