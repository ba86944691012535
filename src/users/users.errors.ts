import { defineError } from '../common/api-error';

export const UserErrors = {
  emailTaken: defineError({
    code: 'email_taken',
    status: 400,
    title: 'E-mail address taken',
    detail: 'There is an account with this e-mail address already. Log in, or reset its password.',
  }),
};
