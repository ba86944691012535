import type { DataSource, EntityManager, QueryRunner } from 'typeorm';

const waiting = new WeakMap<QueryRunner, (() => void)[]>();
const listening = new WeakSet<DataSource>();

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
  listenTo(runner.dataSource);
  waiting.set(runner, [...(waiting.get(runner) ?? []), work]);
}

function listenTo(dataSource: DataSource): void {
  if (listening.has(dataSource)) return;
  listening.add(dataSource);
  dataSource.subscribers.push({
    afterTransactionCommit: ({ queryRunner }) => {
      // Still active: only a savepoint was let go of.
      if (queryRunner.isTransactionActive) return;
      const all = waiting.get(queryRunner) ?? [];
      waiting.delete(queryRunner);
      for (const work of all) work();
    },
  });
}
