import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A request that carried an Idempotency-Key: while it runs a claim, then its answer. */
@Entity('idempotency_keys')
export class IdempotencyKey {
  /** Who called. */
  @PrimaryColumn('uuid')
  userId!: string;

  /** Of the key, keyed; the key itself is not stored. */
  @PrimaryColumn('bytea')
  keyHash!: Buffer;

  /** Of what was asked: method, path, query and body. */
  @Column('bytea')
  fingerprint!: Buffer;

  /** The request that runs, or that was answered. */
  @Column('uuid')
  requestId!: string;

  /** The answer, sealed under a key that is derived from the Idempotency-Key; null while the request runs. */
  @Column('bytea', { nullable: true })
  reply!: Buffer | null;

  /** Until then the claim or the answer holds; afterwards the key is free. */
  @Index()
  @Column('timestamptz')
  expiresAt!: Date;
}
