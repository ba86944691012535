import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { ApiKey } from './api-key.entity';

/** One secret of a key; the secret itself is not stored. Of each key one is current, and the older ones end. */
@Entity('api_key_versions')
@Index(['apiKeyId'], { unique: true, where: 'expires_at IS NULL' })
export class ApiKeyVersion {
  @PrimaryColumn('uuid')
  id!: string;

  @Index()
  @Column('uuid')
  apiKeyId!: string;

  @ManyToOne(() => ApiKey, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'api_key_id' })
  apiKey?: ApiKey;

  /** See `hashApiKey`. */
  @Column('text', { unique: true, select: false })
  keyHash!: string;

  @Column('text')
  keyPrefix!: string;

  @Column('timestamptz')
  createdAt!: Date;

  /** When it ends, after a rotation; null: it is the current one. */
  @Column('timestamptz', { nullable: true })
  expiresAt!: Date | null;

  /** The last request that showed it; up to a second late. */
  @Column('timestamptz', { nullable: true })
  lastUsed!: Date | null;
}
