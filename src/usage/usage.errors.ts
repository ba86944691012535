import { defineError } from '../common/api-error';

export const UsageErrors = {
  ledgerBusy: defineError({
    code: 'metering_busy',
    status: 503,
    title: 'Metering is busy',
    detail:
      'More calls wait to be written than the service takes on; yours was not charged. Try again shortly.',
  }),
  budgetExceeded: defineError({
    code: 'budget_exceeded',
    status: 402,
    title: 'Monthly budget exceeded',
    sample: ['the account', '25.5', '25.4567', '0.04', '0.012', '2026-02-01T00:00:00.000Z'],
    detail: (
      whose: string,
      limit: string,
      used: string,
      held: string,
      wanted: string | null,
      resets_at: string,
    ) =>
      wanted === null
        ? `The monthly budget of ${whose} is ${limit} USD. Used are ${used} USD, and calls under way hold ${held} USD. The budget resets at ${resets_at}; until then raise it.`
        : `The monthly budget of ${whose} is ${limit} USD. Used are ${used} USD, calls under way hold ${held} USD, and this call may cost up to ${wanted} USD. The budget resets at ${resets_at}; until then raise it, or ask for fewer tokens.`,
  }),
  quotaExceeded: defineError({
    code: 'quota_exceeded',
    status: 402,
    title: 'Monthly tokens used up',
    sample: ['10000', '9900', '0', '520', '2026-02-01T00:00:00.000Z'],
    detail: (limit: string, used: string, held: string, wanted: string | null, resets_at: string) =>
      wanted === null
        ? `The plan includes ${limit} tokens a month. Used are ${used}, and calls under way hold ${held}. They come anew at ${resets_at}; until then choose a larger plan.`
        : `The plan includes ${limit} tokens a month. Used are ${used}, calls under way hold ${held}, and this call may take up to ${wanted}. They come anew at ${resets_at}; until then choose a larger plan, or ask for fewer tokens.`,
  }),
  priceInThePast: defineError({
    code: 'price_in_the_past',
    status: 400,
    title: 'A price cannot begin in the past',
    detail: 'What calls have cost does not change. Choose an "effective_from" to come, or leave it out.',
  }),
};
