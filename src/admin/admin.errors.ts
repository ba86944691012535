import { defineError } from '../common/api-error';

export const AdminErrors = {
  cannotSuspendYourself: defineError({
    code: 'cannot_suspend_yourself',
    status: 400,
    title: 'You cannot suspend yourself',
    detail: 'You would lock yourself out. Ask another admin.',
  }),
  spanTooLong: defineError({
    code: 'span_too_long',
    status: 400,
    title: 'Span too long or empty',
    detail: 'Choose "to" after "from", and at most 31 days later.',
  }),
};
