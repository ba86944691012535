import { defineError } from '../common/api-error';

export const AuthErrors = {
  invalidLogin: defineError({
    code: 'invalid_login',
    status: 401,
    title: 'Log-in refused',
    detail:
      'The e-mail address, the password or the two-factor code is wrong. After 20 wrong tries none is accepted for 15 minutes: wait, or, unless codes were wrong, reset the password with POST /api/v1/auth/password/reset.',
  }),
  invalidRefreshToken: defineError({
    code: 'invalid_refresh_token',
    status: 401,
    title: 'Refresh refused',
    detail: 'The refresh token is not valid, or its session is over. Log in again.',
  }),
  sessionNotFound: defineError({
    code: 'session_not_found',
    status: 404,
    title: 'Session not found',
    detail: 'You have no session with this id.',
  }),
  wrongPassword: defineError({
    code: 'wrong_password',
    status: 400,
    title: 'Current password wrong',
    detail:
      'The current password is not right. Nothing was changed. After 20 wrong tries none is accepted for 15 minutes: wait, or reset the password with POST /api/v1/auth/password/reset.',
  }),
  weakPassword: defineError({
    code: 'weak_password',
    status: 400,
    title: 'Password too easy to guess',
    sample: ['it is one of the most common passwords'],
    detail: (reason: string) => `Choose another password: ${reason}.`,
  }),
  invalidResetToken: defineError({
    code: 'invalid_reset_token',
    status: 400,
    title: 'Invalid reset token',
    detail: 'This link was used already, has expired or was replaced by a newer one. Ask for a new one.',
  }),
  emailUnchanged: defineError({
    code: 'email_unchanged',
    status: 400,
    title: 'Address unchanged',
    detail: 'The account has this e-mail address already. Send another address.',
  }),
  invalidEmailToken: defineError({
    code: 'invalid_email_token',
    status: 400,
    title: 'Invalid token of a change of address',
    detail:
      'This link was used already, has expired, was replaced by a newer one, or the address cannot be taken. Ask for the change again with POST /api/v1/auth/me/email; if the account is no longer in your hands, ask the operator of this service.',
  }),
  invalidVerificationToken: defineError({
    code: 'invalid_verification_token',
    status: 400,
    title: 'Invalid verification token or code',
    detail:
      'This link or code is wrong, was used already, has expired, was replaced by a newer one or was tried too often. Ask for a new mail.',
  }),
};
