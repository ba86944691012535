import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A piece of work that comes round, for one process at a time. */
@Entity('billing_tasks')
export class BillingTask {
  @PrimaryColumn('text')
  name!: string;

  @Column('timestamptz')
  dueAt!: Date;

  /** When it last went well. */
  @Column('timestamptz', { nullable: true })
  succeededAt!: Date | null;

  /** Why it did not go well the last time. */
  @Column('text', { nullable: true })
  error!: string | null;

  /** What the next run needs of the last one. */
  @Column('jsonb', { nullable: true })
  memory!: Record<string, unknown> | null;
}
