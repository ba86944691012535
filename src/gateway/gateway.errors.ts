import { defineError } from '../common/api-error';

export const GatewayErrors = {
  capReached: defineError({
    code: 'cap_reached',
    status: 429,
    title: 'Nothing left this month',
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
    detail: (days: number) =>
      `What is reported must have been done within the last ${days} days, and not in the future.`,
  }),
};
