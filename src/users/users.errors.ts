import { defineError } from '../common/api-error';

export const UserErrors = {
  notFound: defineError({
    code: 'user_not_found',
    status: 404,
    title: 'User not found',
    detail: 'There is no account with this id.',
  }),
  emailTaken: defineError({
    code: 'email_taken',
    status: 400,
    title: 'E-mail address taken',
    detail: 'There is an account with this e-mail address already. Log in, or reset its password.',
  }),
};
