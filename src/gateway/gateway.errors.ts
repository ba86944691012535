import { defineError } from '../common/api-error';

export const GatewayErrors = {
  timestampOutOfRange: defineError({
    code: 'timestamp_out_of_range',
    status: 400,
    title: 'Timestamp out of range',
    detail: 'What is reported must have been done within the last 31 days, and not in the future.',
  }),
};
