/** The text of a statement as `EntityManager.query` is given it: as it is, or with the name it is prepared under. */
export function sqlOf(statement: unknown): string {
  return typeof statement === 'string' ? statement : (statement as { text: string }).text;
}
