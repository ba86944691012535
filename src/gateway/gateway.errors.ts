import { defineError } from '../common/api-error';

export const GatewayErrors = {
  capReached: defineError({
    code: 'cap_reached',
    status: 429,
    title: 'Nothing left this month',
    detail: (why: string) => `A call would be refused: ${why}`,
  }),
  timestampOutOfRange: defineError({
    code: 'timestamp_out_of_range',
    status: 400,
    title: 'Timestamp out of range',
    detail: (days: number) =>
      `What is reported must have been done within the last ${days} days, and not in the future.`,
  }),
};
