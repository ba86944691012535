import { defineError } from '../common/api-error';

export const AdminErrors = {
  cannotSuspendYourself: defineError({
    code: 'cannot_suspend_yourself',
    status: 400,
    title: 'You cannot suspend yourself',
    detail: 'You would lock yourself out. Ask another admin.',
  }),
};
