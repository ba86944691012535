import { defineError } from '../common/api-error';

export const LimitErrors = {
  rateLimited: defineError({
    code: 'rate_limited',
    status: 429,
    title: 'Too many requests',
    detail: (policy: string, limit: number, windowSeconds: number) =>
      `The limit "${policy}" of ${limit} requests in ${windowSeconds} s is used up. Wait as long as Retry-After says.`,
  }),
};
