import { Column, Entity, JoinColumn, OneToOne, PrimaryColumn } from 'typeorm';
import { AuditEvent } from './audit-event.entity';

/** What an event adds in words. No numbers: JSON spells one in many ways, and the digest covers one spelling. */
export type AuditWords = Readonly<Record<string, string | null>>;

/** The personal part of an event, with the salt of its digest. It goes when its person is erased; the chain stays whole. */
@Entity('audit_details')
export class AuditDetails {
  @PrimaryColumn('uuid')
  eventId!: string;

  @OneToOne(() => AuditEvent, { nullable: false, onDelete: 'RESTRICT' })
  @JoinColumn({ name: 'event_id' })
  event?: AuditEvent;

  @Column('text', { nullable: true })
  ip!: string | null;

  @Column('text', { nullable: true })
  userAgent!: string | null;

  @Column('jsonb')
  details!: AuditWords;

  @Column('bytea')
  salt!: Buffer;
}
