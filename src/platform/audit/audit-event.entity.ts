import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { AuditAction } from './audit-actions';

/**
 * A security event. Rows are only ever added, which a trigger sees to: the one change it allows is to give a row its
 * place in the chain. They hold ids and a digest, so an erasure need not touch them; the personal part is in
 * `audit_details`. There are no foreign keys: the log outlives what it tells of. What `mac` and `link` cover stands in
 * `audit-chain.ts`.
 */
@Entity('audit_events')
@Index(['subjectId', 'id'])
@Index(['actor', 'id'])
export class AuditEvent {
  @PrimaryColumn('uuid')
  id!: string;

  /** No finer than the program's clock, so that no part of it escapes the MAC. */
  @Index()
  @Column({ type: 'timestamptz', precision: 3 })
  occurredAt!: Date;

  @Column('text')
  action!: AuditAction;

  /** A user's id; `system` for the operator's commands; null for somebody who had not shown who he is. */
  @Column('text', { nullable: true })
  actor!: string | null;

  /** Whose account it is about. */
  @Column('uuid', { nullable: true })
  subjectId!: string | null;

  /** What it was done to, when not the account as a whole: a session, an API key. */
  @Column('uuid', { nullable: true })
  targetId!: string | null;

  @Column('text')
  result!: AuditResult;

  @Column('text', { nullable: true })
  requestId!: string | null;

  /** Of the row in `audit_details`, salted there: without it nothing can be learned from the digest. */
  @Column('bytea')
  detailsDigest!: Buffer;

  /** Where the chain ended when this was recorded, and with which link: each event testifies to those before it. */
  @Column('bigint')
  seenPosition!: string;

  @Column('bytea')
  seenLink!: Buffer;

  @Column('bytea')
  mac!: Buffer;

  /** From 1, without gaps; null until AuditSealer comes by. */
  @Column('bigint', { nullable: true, unique: true })
  position!: string | null;

  @Column('bytea', { nullable: true })
  link!: Buffer | null;
}

export type AuditResult = 'success' | 'failure';
