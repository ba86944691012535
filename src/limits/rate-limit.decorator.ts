import { SetMetadata } from '@nestjs/common';
import type { PolicyName } from './policies';

export const RATE_LIMITS_METADATA = 'cortex:rate-limits';

/** Puts further policies on a route, besides those its caller falls under anyway. */
export const RateLimited =
  (...names: PolicyName[]): MethodDecorator =>
  (target, property, descriptor) => {
    const earlier = Reflect.getMetadata(RATE_LIMITS_METADATA, descriptor.value as object) as
      PolicyName[] | undefined;
    SetMetadata(RATE_LIMITS_METADATA, [...names, ...(earlier ?? [])])(target, property, descriptor);
  };

export const TOKENS_AT_MOST_METADATA = 'cortex:tokens-at-most';

/** The most tokens that a request with this body may use; 0 for a body that will be refused. */
export type TokensAtMost = (body: unknown) => number;

/** Puts a policy that counts tokens on a route. What a call may use is taken beforehand, and none of it given back. */
export const TokensLimited =
  (name: PolicyName, tokensAtMost: TokensAtMost): MethodDecorator =>
  (target, property, descriptor) => {
    RateLimited(name)(target, property, descriptor);
    SetMetadata(TOKENS_AT_MOST_METADATA, tokensAtMost)(target, property, descriptor);
  };
