import { type ApiError, defineError } from './api-error';
import { CommonErrors } from './common.errors';

/** What a backend learns when its key opens nothing any more. Only who has the key is told; its owner knows it anyway. */
export const KeyErrors = {
  disabled: defineError({
    code: 'disabled',
    status: 401,
    title: 'API key disabled',
    detail: 'This API key was deactivated, or its account is suspended. Use another key.',
  }),
  expired: defineError({
    code: 'expired',
    status: 401,
    title: 'API key expired',
    detail: 'This API key, or this secret of a key that was rotated, has come to its end. Use the new one.',
  }),
};

/** What the look-up of a key says: VALID, or why it opens nothing. */
export type KeyState = 'VALID' | 'NOT_FOUND' | 'DISABLED' | 'EXPIRED';

/** The refusal of each state. */
export const keyRefusals: Readonly<Record<Exclude<KeyState, 'VALID'>, () => ApiError>> = {
  NOT_FOUND: () => CommonErrors.invalidCredentials(),
  DISABLED: () => KeyErrors.disabled(),
  EXPIRED: () => KeyErrors.expired(),
};
