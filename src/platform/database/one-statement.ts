import type { EntityManager } from 'typeorm';
import { queryPrepared } from './prepared-statements';

/** A piece of SQL with its values, as {@link sql} writes it down. */
export interface Sql {
  /** One more than there are values: what stands before, between and after them. */
  readonly texts: readonly string[];
  readonly values: readonly unknown[];
}

/** SQL whose `${}` are its values: they are sent as parameters, never as text. */
export function sql(texts: TemplateStringsArray, ...values: unknown[]): Sql {
  return { texts, values };
}

/** A condition that is always fulfilled. */
export const ALWAYS = sql`SELECT`;

/** What every effect says in its own WHERE. */
const IF_FULFILLED = 'EXISTS (SELECT FROM condition)';

/**
 * Makes the changes of several modules in one statement: one trip to PostgreSQL and one commit, where a transaction has
 * as many trips as it has statements, and two more. They are made together, and only if the condition finds a row.
 *
 * Every part sees the tables as they were when the statement began, but for the rows that it changes itself: those it
 * takes as they are once it has their lock. No part sees what another one does.
 * @param condition changes or reads a row, or none; it comes first, so the lock of its row is the first one taken.
 * @param effects each with `EXISTS (SELECT FROM condition)` in its WHERE.
 * @returns whether the condition found a row.
 */
export async function changeAtOnce(
  db: EntityManager,
  condition: Sql,
  effects: readonly Sql[],
): Promise<boolean> {
  for (const { texts } of effects)
    if (!texts.some((text) => text.includes(IF_FULFILLED)))
      throw new Error(`An effect is bound to nothing: ${texts.join('?')}`);
  const values: unknown[] = [];
  const written = (part: Sql): string =>
    part.texts.reduce((text, next, n) => `${text}$${values.push(part.values[n - 1])}${next}`);
  const parts = [
    `condition AS (${written(condition)})`,
    ...effects.map((effect, n) => `effect_${n + 1} AS (${written(effect)})`),
  ];
  const fulfilled = await queryPrepared(db, `WITH ${parts.join(',\n')} SELECT 1 FROM condition`, values);
  return fulfilled.length > 0;
}
