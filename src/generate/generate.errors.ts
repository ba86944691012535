import { defineError } from '../common/api-error';

/** Errors of `POST /generate` and of the providers behind it. None of a provider is ever charged. */
export const GenerateErrors = {
  providerRejected: defineError({
    code: 'provider_rejected',
    status: 400,
    title: 'Input refused by the provider',
    sample: ['openai'],
    detail: (provider: string) =>
      `The provider "${provider}" refused the input, and nothing was charged. Most often "model" is unknown to it, or "prompt" or "max_tokens" is too large for the model: correct them and send again.`,
  }),
  providerFailed: defineError({
    code: 'provider_error',
    status: 502,
    title: 'Provider failed',
    sample: ['openai'],
    detail: (provider: string) =>
      `The provider "${provider}" could not be reached or gave no usable answer, and nothing was charged. Try again, or choose another provider.`,
  }),
  providerNotConfigured: defineError({
    code: 'provider_not_configured',
    status: 501,
    title: 'Provider not available',
    sample: ['openai'],
    detail: (provider: string) =>
      `The provider "${provider}" is not set up on this service. Choose another provider.`,
  }),
  providerRateLimited: defineError({
    code: 'provider_rate_limited',
    status: 503,
    title: 'Provider takes no more requests',
    sample: ['openai'],
    detail: (provider: string) =>
      `The provider "${provider}" takes no more requests from this service at the moment, and nothing was charged. Try again after the seconds in Retry-After, or in a minute when there are none, or choose another provider.`,
  }),
  providerTimedOut: defineError({
    code: 'provider_timeout',
    status: 504,
    title: 'Provider too slow',
    sample: ['openai'],
    detail: (provider: string) =>
      `The provider "${provider}" did not answer in time, and nothing was charged. Try again, or ask for less: a smaller "max_tokens" or a shorter "prompt".`,
  }),
  streamNotRepeatable: defineError({
    code: 'stream_not_repeatable',
    status: 400,
    title: 'A stream cannot be repeated',
    detail: 'Send either "stream": true or an Idempotency-Key: the answer of a stream is not kept.',
  }),
  streamCutOff: defineError({
    code: 'stream_cut_off',
    status: 504,
    title: 'Stream cut off',
    sample: [300],
    detail: (seconds: number) =>
      `The answer was not complete after ${seconds} seconds and was cut off. Charged is what had come by then, by an estimate. Ask for less: a smaller "max_tokens".`,
  }),
  streamNotBooked: defineError({
    code: 'stream_not_booked',
    status: 503,
    title: 'Usage of the stream unknown',
    detail:
      'The answer is complete, but what it used could not be written for certain. It is charged once at most: what it used, or an estimate of its input. GET /api/v1/auth/usage/logs shows within some minutes what was charged.',
  }),
};
