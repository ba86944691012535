import { Column, Entity, PrimaryColumn } from 'typeorm';

/** How many guesses were made at something lately. */
@Entity('attempt_counts')
export class AttemptCount {
  /** A digest: the table names neither addresses nor devices. */
  @PrimaryColumn('text')
  key!: string;

  @Column('integer')
  taken!: number;

  @Column('timestamptz')
  lastTakenAt!: Date;

  /** Whether the owner was told of this lock. */
  @Column('boolean', { default: false })
  isTold!: boolean;
}
