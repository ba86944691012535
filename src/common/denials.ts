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
    detail:
      "This API key, or this old secret of a rotated key, has expired. Use the key's new secret if it was rotated, or create another key.",
  }),
  compromised: defineError({
    code: 'compromised',
    status: 401,
    title: 'API key compromised',
    detail:
      'This API key was found where it should not be, and was ended for that. Its owner has to make another.',
  }),
};

interface Denial {
  /** The HTTP status that it is answered with, by this service and by whoever asks it about a key. */
  readonly status: 401 | 402 | 403 | 429;
  /** The `code` of the problem that AuthGuard and RateLimitGuard answer with. */
  readonly problem: string;
  readonly meaning: string;
}

/** Every reason for which a key is refused: the one list of the guards, of `POST /keys/verify`, of the docs and of OpenAPI. */
export const denials = {
  NOT_FOUND: { status: 401, problem: 'invalid_token', meaning: 'Nobody has this key.' },
  DISABLED: {
    status: 401,
    problem: 'disabled',
    meaning: 'The key was deactivated, or its account is suspended.',
  },
  EXPIRED: {
    status: 401,
    problem: 'expired',
    meaning: 'The key, or this secret of a rotated key, has come to its end.',
  },
  COMPROMISED: {
    status: 401,
    problem: 'compromised',
    meaning: 'The key was reported as leaked, and ended for that.',
  },
  FORBIDDEN: {
    status: 403,
    problem: 'forbidden',
    meaning: 'The key is not for this address (`allowed_ips`).',
  },
  INSUFFICIENT_PERMISSIONS: {
    status: 403,
    problem: 'insufficient_permissions',
    meaning: 'The key does not have the permission that the operation needs.',
  },
  RATE_LIMITED: {
    status: 429,
    problem: 'rate_limited',
    meaning: 'A rate limit of the key or of its plan is used up; `retry_after` says how long.',
  },
  BUDGET_EXCEEDED: {
    status: 402,
    problem: 'budget_exceeded',
    meaning: 'The monthly budget of the key or of its account is used up.',
  },
  PLAN_INACTIVE: {
    status: 402,
    problem: 'quota_exceeded',
    meaning: "The owner's plan carries no more calls this month: what it includes is used up.",
  },
} as const satisfies Record<string, Denial>;

export type DenialCode = keyof typeof denials;

/** What a question about a key is answered with. */
export type Verdict = 'VALID' | DenialCode;
export const verdicts = ['VALID', ...(Object.keys(denials) as DenialCode[])] as const;

/** What the look-up of a key says: VALID, or why it opens nothing. */
export type KeyState = Extract<Verdict, 'VALID' | 'NOT_FOUND' | 'DISABLED' | 'EXPIRED' | 'COMPROMISED'>;

/** The refusal of each state. */
export const keyRefusals: Readonly<Record<Exclude<KeyState, 'VALID'>, () => ApiError>> = {
  NOT_FOUND: () => CommonErrors.invalidCredentials(),
  DISABLED: () => KeyErrors.disabled(),
  EXPIRED: () => KeyErrors.expired(),
  COMPROMISED: () => KeyErrors.compromised(),
};
