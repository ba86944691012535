import type { DataSource, EntityManager, QueryRunner } from 'typeorm';

const waiting = new WeakMap<QueryRunner, (() => void)[]>();

/**
 * Does something once `tx` has committed, and never when it has not: such as forgetting what was cached before. Outside
 * of a transaction it is done at once.
 */
export function afterCommit(tx: EntityManager, work: () => void): void {
  const runner = tx.queryRunner;
  if (!runner?.isTransactionActive) {
    work();
    return;
  }
  waiting.set(runner, [...(waiting.get(runner) ?? []), work]);
}

/** Has a data source tell {@link afterCommit} of its commits. */
export function tellAfterCommit(dataSource: DataSource): DataSource {
  dataSource.subscribers.push({
    afterTransactionCommit: ({ queryRunner }) => {
      // Still active: only a savepoint was let go of.
      if (queryRunner.isTransactionActive) return;
      const all = waiting.get(queryRunner) ?? [];
      waiting.delete(queryRunner);
      for (const work of all) work();
    },
  });
  return dataSource;
}
