import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Lines of the ledger that stand in a file instead: what `usage:verify` still has to know of them. */
@Entity('usage_archives')
export class UsageArchive {
  /** The first day of the month (UTC) whose lines they are. */
  @PrimaryColumn('date')
  month!: string;

  /** From 1: lines that came later, after the month was archived, are archived once more. */
  @PrimaryColumn('integer')
  part!: number;

  @Column('bigint')
  lines!: string;

  @Column('numeric', { precision: 30, scale: 0 })
  tokens!: string;

  @Column('numeric', { precision: 30, scale: 9 })
  costUsd!: string;

  @Column('timestamptz')
  archivedAt!: Date;
}
