import { type ApiError, defineError } from '../common/api-error';
import type { Decision } from './decision';
import { type Unit, unitOf } from './policies';

export const LimitErrors = {
  rateLimited: defineError({
    code: 'rate_limited',
    status: 429,
    title: 'Too many requests',
    sample: ['api-key', 100, 'requests', 60],
    detail: (policy: string, limit: number, unit: Unit, windowSeconds: number) =>
      `The limit "${policy}" of ${limit} ${unit} in ${windowSeconds} s is used up. Wait as long as Retry-After says.`,
  }),
  tokensAboveLimit: defineError({
    code: 'tokens_above_limit',
    status: 400,
    title: 'More tokens than the limit',
    sample: [120_000, 'tokens-minute', 100_000],
    detail: (wanted: number, policy: string, limit: number) =>
      `This call may use ${wanted} tokens, and the limit "${policy}" is ${limit}. Ask for fewer max_tokens, or send a shorter prompt.`,
  }),
};

/** The answer to a request that is refused: it names every policy without a place, and waits for the last to free. */
export function rateLimited({ refused, states }: Decision): ApiError | undefined {
  if (!refused) return undefined;
  const { claim, waitMs } = refused;
  return LimitErrors.rateLimited.with(
    {
      retryAfterSeconds: Math.ceil(waitMs / 1_000),
      violatedPolicies: states.filter((state) => state.waitMs > 0).map((state) => state.claim.policy),
    },
    claim.policy,
    claim.limit,
    unitOf(claim.policy),
    claim.windowMs / 1_000,
  );
}
