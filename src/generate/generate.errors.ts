import { defineError } from '../common/api-error';

/** Errors of the providers behind `POST /generate`. None of them is ever charged. */
export const GenerateErrors = {
  providerRejected: defineError({
    code: 'provider_rejected',
    status: 400,
    title: 'Input refused by the provider',
    detail: (provider: string) =>
      `The provider "${provider}" refused the input, and nothing was charged. Most often "model" is unknown to it, or "prompt" or "max_tokens" is too large for the model: correct them and send again.`,
  }),
  providerFailed: defineError({
    code: 'provider_error',
    status: 502,
    title: 'Provider failed',
    detail: (provider: string) =>
      `The provider "${provider}" could not be reached or gave no usable answer, and nothing was charged. Try again, or choose another provider.`,
  }),
  providerNotConfigured: defineError({
    code: 'provider_not_configured',
    status: 503,
    title: 'Provider not available',
    detail: (provider: string) =>
      `The provider "${provider}" is not set up on this service. Choose another provider.`,
  }),
  providerRateLimited: defineError({
    code: 'provider_rate_limited',
    status: 503,
    title: 'Provider takes no more requests',
    detail: (provider: string) =>
      `The provider "${provider}" takes no more requests from this service at the moment, and nothing was charged. Try again after the seconds in Retry-After, or in a minute when there are none, or choose another provider.`,
  }),
  providerTimedOut: defineError({
    code: 'provider_timeout',
    status: 504,
    title: 'Provider too slow',
    detail: (provider: string) =>
      `The provider "${provider}" did not answer in time, and nothing was charged. Try again, or ask for less: a smaller "max_tokens" or a shorter "prompt".`,
  }),
};
