import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The end of the chain: one row, made by the migration at position 0. Whoever holds its lock extends the chain. */
@Entity('audit_head')
export class AuditHead {
  @PrimaryColumn('bigint')
  position!: string;

  /** Of the event at this position; empty at 0. */
  @Column('bytea')
  link!: Buffer;

  /** Without it, a chain that lost its last events could be given an earlier end. */
  @Column('bytea')
  mac!: Buffer;
}
