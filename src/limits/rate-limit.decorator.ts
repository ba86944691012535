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
