import { defineError } from '../common/api-error';

export const AuthErrors = {
  invalidLogin: defineError({
    code: 'invalid_login',
    status: 401,
    title: 'Log-in refused',
    detail: 'The e-mail address or the password is wrong.',
  }),
  invalidVerificationToken: defineError({
    code: 'invalid_verification_token',
    status: 400,
    title: 'Invalid verification token',
    detail: 'This link was used already, has expired or was replaced by a newer one.',
  }),
};
