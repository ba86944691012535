import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, Unique } from 'typeorm';
import { TwoFactor } from './two-factor.entity';

/** One backup code; it ends with its authenticator. */
@Entity('backup_codes')
@Unique(['twoFactorId', 'hash'])
export class BackupCode {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid')
  twoFactorId!: string;

  @ManyToOne(() => TwoFactor, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'two_factor_id' })
  twoFactor?: TwoFactor;

  /** argon2id with the authenticator's salt: slow, for 60 bits are too few for a fast hash. */
  @Column('bytea')
  hash!: Buffer;

  @Column('timestamptz', { nullable: true })
  usedAt!: Date | null;
}
