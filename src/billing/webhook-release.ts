import type { EntityManager } from 'typeorm';
import type { Jobs } from '../platform/jobs/jobs';

/** The job that applies one stored delivery. */
export const APPLY_JOB = 'billing-event';

/** Has the deliveries applied that came before it was known whose customer they are about. */
export async function releaseUnlinked(polarCustomerId: string, jobs: Jobs, tx: EntityManager): Promise<void> {
  const [released] = await tx.query<[{ id: string }[], number]>(
    `UPDATE billing_events SET status = 'received' WHERE polar_customer_id = $1 AND status = 'unlinked' RETURNING id`,
    [polarCustomerId],
  );
  for (const { id } of released) await jobs.send(APPLY_JOB, { id }, tx);
}
