import { defineError } from '../common/api-error';

export const TwoFactorErrors = {
  required: defineError({
    code: 'two_factor_required',
    status: 400,
    title: 'Two-factor code required',
    detail:
      'This account asks for a second factor. Log in again with two_factor_code, or send it with challenge_token to POST /api/v1/auth/login/two-factor.',
  }),
  loginRefused: defineError({
    code: 'invalid_two_factor_code',
    status: 401,
    title: 'Second step refused',
    detail:
      'The code is wrong or was used already, or the challenge is over. Try the next code, or log in again.',
  }),
  wrongCode: defineError({
    code: 'wrong_two_factor_code',
    status: 400,
    title: 'Code wrong',
    detail:
      'The code, or the password beside it, is not right, was used already or was tried too often lately. Nothing was changed. A code works once: wait for the next one.',
  }),
  notEnabled: defineError({
    code: 'two_factor_not_enabled',
    status: 400,
    title: 'Two-factor authentication is off',
    detail: 'This account has no second factor. Turn it on with POST /api/v1/auth/2fa/setup.',
  }),
  setupMissing: defineError({
    code: 'two_factor_setup_missing',
    status: 400,
    title: 'Nothing is being set up',
    detail:
      'There is no set-up to complete: it is over after 15 minutes, or was replaced. Begin anew with POST /api/v1/auth/2fa/setup.',
  }),
  invalidStopToken: defineError({
    code: 'invalid_stop_token',
    status: 400,
    title: 'Nothing to stop',
    detail: 'This link was used already, or its reset is over.',
  }),
};
