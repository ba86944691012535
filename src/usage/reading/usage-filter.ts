/** Which of a user's usage is read; all that is given must fit. */
export interface UsageFilter {
  readonly apiKeyId?: string | undefined;
  readonly operation?: string | undefined;
  readonly provider?: string | undefined;
  readonly model?: string | undefined;
  /** The first moment that counts. */
  readonly from?: Date | undefined;
  /** The first moment that does not count any more. */
  readonly to?: Date | undefined;
}

/**
 * The condition for the rows of one user that fit a filter, and its parameters; `$1` is always the user.
 * @param time the column of time.
 */
export function usageWhere(
  userId: string,
  filter: UsageFilter,
  time: 'created_at' | 'hour',
): { where: string; parameters: unknown[] } {
  const candidates: readonly [string, unknown][] = [
    ['user_id =', userId],
    ['api_key_id =', filter.apiKeyId],
    ['operation =', filter.operation],
    ['provider =', filter.provider],
    ['model =', filter.model],
    [`${time} >=`, filter.from],
    [`${time} <`, filter.to],
  ];
  const given = candidates.filter(([, value]) => value !== undefined);
  return {
    where: given.map(([condition], i) => `${condition} $${i + 1}`).join(' AND '),
    parameters: given.map(([, value]) => value),
  };
}
