import { defineError } from '../common/api-error';

export const UsageErrors = {
  ledgerBusy: defineError({
    code: 'metering_busy',
    status: 503,
    title: 'Metering is busy',
    detail:
      'More calls wait to be written than the service takes on; yours was not charged. Try again shortly.',
  }),
};
