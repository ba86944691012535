import { defineError } from '../common/api-error';

export const GatewayErrors = {
  capReached: defineError({
    code: 'cap_reached',
    status: 429,
    title: 'Nothing left this month',
    sample: ['The plan includes 10000 tokens a month, and all of them are used.'],
    detail: (why: string) => `A call would be refused: ${why}`,
  }),
  badLeakSignature: defineError({
    code: 'invalid_leak_signature',
    status: 403,
    title: 'Invalid signature',
    detail: 'The report is not signed with a key that GitHub lists for secret scanning.',
  }),
  signersUnavailable: defineError({
    code: 'leak_signers_unavailable',
    status: 503,
    title: 'Signature cannot be checked',
    detail:
      "GitHub's list of signing keys cannot be read at the moment, so nothing was done. Send the report again.",
  }),
  timestampOutOfRange: defineError({
    code: 'timestamp_out_of_range',
    status: 400,
    title: 'Timestamp out of range',
    sample: [31],
    detail: (days: number) =>
      `What is reported must have been done within the last ${days} days, and not in the future.`,
  }),
  holdNotFound: defineError({
    code: 'hold_not_found',
    status: 404,
    title: 'Nothing is held',
    detail:
      'There is no such hold, or none any more: it was released, or it has expired. What the call took can be reported to POST /api/v1/usage/events.',
  }),
  holdExceeded: defineError({
    code: 'hold_exceeded',
    status: 409,
    title: 'More than was held',
    sample: ['520', '0.052', '640', '0.064'],
    detail: (tokens: string, usd: string, tookTokens: string, tookUsd: string) =>
      `Held are ${tokens} tokens and ${usd} USD, but the call took ${tookTokens} tokens and ${tookUsd} USD; nothing was booked, and the hold stays. Settle no more than is held, and report the rest to POST /api/v1/usage/events.`,
  }),
  holdSettled: defineError({
    code: 'hold_settled',
    status: 409,
    title: 'Settled before',
    detail:
      'This hold was settled before, and stays as it was: it can be neither settled with something else nor released.',
  }),
};
