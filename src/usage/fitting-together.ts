import type { ApiError } from '../common/api-error';
import { capInTheWay, type Most, type Standings } from './caps';
import { type Opening, type OpenRow, standingsOf } from './open-statement';

/**
 * Of the calls of a turn that nothing is decided about yet: those that fit beside what the turn granted and beside each
 * other, in the order of their arrival.
 * @param rows what the turn read, one for each call.
 */
export function fittingTogether(
  openings: readonly Opening[],
  rows: readonly OpenRow[],
  verdicts: ReadonlyMap<Opening, ApiError | null>,
): Opening[] {
  if (openings.every((opening) => verdicts.has(opening))) return [];
  const taken = new Taken();
  for (const opening of openings) if (verdicts.get(opening) === null) taken.add(opening);
  return openings.filter((opening, index) => {
    const row = rows[index];
    if (!row?.is_known || verdicts.has(opening)) return false;
    const fits = capInTheWay(opening.caps, opening.most, taken.beside(opening, standingsOf(row))) === null;
    if (fits) taken.add(opening);
    return fits;
  });
}

/** What calls take of the months of their accounts and keys. */
class Taken {
  private readonly months = new Map<string, Most>();

  add({ userId, apiKeyId, month, most }: Opening): void {
    for (const scopeId of [userId, ...(apiKeyId === null ? [] : [apiKeyId])]) {
      const { tokens, costNanoUsd } = this.of(scopeId, month);
      const now = { tokens: tokens + most.tokens, costNanoUsd: costNanoUsd + most.costNanoUsd };
      this.months.set(`${scopeId} ${month}`, now);
    }
  }

  /** The standings of a caller with what was taken held besides. */
  beside({ userId, apiKeyId, month }: Opening, { apiKeyUsd, accountUsd, tokens }: Standings): Standings {
    const account = this.of(userId, month);
    const key = this.of(apiKeyId ?? '', month);
    return {
      apiKeyUsd: { ...apiKeyUsd, held: apiKeyUsd.held + key.costNanoUsd },
      accountUsd: { ...accountUsd, held: accountUsd.held + account.costNanoUsd },
      tokens: { ...tokens, held: tokens.held + account.tokens },
    };
  }

  private of(scopeId: string, month: string): Most {
    return this.months.get(`${scopeId} ${month}`) ?? { tokens: 0n, costNanoUsd: 0n };
  }
}
