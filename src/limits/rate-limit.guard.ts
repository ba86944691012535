import { type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import {
  getOptionsToken,
  getStorageToken,
  ThrottlerGuard,
  type ThrottlerModuleOptions,
  type ThrottlerStorage,
} from '@nestjs/throttler';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RequestState } from '../common/principal';
import type { ClaimState } from './decision';
import { rateLimited } from './limits.errors';
import { addressClaim, claimsOf, generalPolicies, type PolicyName } from './policies';
import { RATE_LIMITS_METADATA } from './rate-limit.decorator';
import { RateLimiter } from './rate-limiter';

const SKIP_METADATA = 'THROTTLER:SKIPdefault';

/** The policies a route adds; null: it is not limited at all. */
type RoutePolicies = readonly PolicyName[] | null;

/**
 * Step 2 of the pipeline. The throttler's guard asks one limit after the other and its storage costs more with every
 * live hit; here all policies of a request are asked in one go, at constant cost, and a refused request consumes none.
 * Every answer carries `RateLimit-Policy` and `RateLimit` (IETF draft-ietf-httpapi-ratelimit-headers).
 */
@Injectable()
export class RateLimitGuard extends ThrottlerGuard {
  private readonly policiesOf = new Map<unknown, RoutePolicies>();

  constructor(
    @Inject(getOptionsToken()) options: ThrottlerModuleOptions,
    @Inject(getStorageToken()) storage: ThrottlerStorage,
    reflector: Reflector,
    private readonly limiter: RateLimiter,
  ) {
    super(options, storage, reflector);
  }

  /** @throws ApiError `rate_limited`, naming the policy and how long to wait. */
  override async canActivate(context: ExecutionContext): Promise<boolean> {
    const ofRoute = this.routePolicies(context);
    if (!ofRoute) return true;

    const [request, reply] = context.getArgs<[FastifyRequest & RequestState, FastifyReply]>();
    const { email } = (request.body ?? {}) as { email?: unknown };
    const claimant = { principal: request.user, ip: request.ip, email };
    const claims = claimsOf([...generalPolicies(request.user), ...ofRoute], claimant);
    // Wrong credentials that other processes have seen count too, within the one question.
    if (request.user && this.limiter.isShared)
      claims.push({ ...addressClaim('wrong-credentials', request.ip), onlyLook: true });
    const decision = await this.limiter.take(claims);

    setRateLimitHeaders(reply, decision.states);
    const refusal = rateLimited(decision);
    if (refusal) throw refusal;
    return true;
  }

  /** What the decorators of a route say does not change, so they are read once. */
  private routePolicies(context: ExecutionContext): RoutePolicies {
    const handler = context.getHandler();
    let names = this.policiesOf.get(handler);
    if (names === undefined) {
      const skips = this.reflector.getAllAndOverride<boolean | undefined>(SKIP_METADATA, [
        handler,
        context.getClass(),
      ]);
      const added = this.reflector.get<PolicyName[] | undefined>(RATE_LIMITS_METADATA, handler);
      this.policiesOf.set(handler, (names = skips ? null : (added ?? [])));
    }
    return names;
  }
}

/** `"name";q=limit;w=seconds` and `"name";r=remaining;t=seconds`, one member per policy (RFC 9651 lists). */
function setRateLimitHeaders(reply: FastifyReply, states: readonly ClaimState[]): void {
  let policy = '';
  let standing = '';
  for (const { claim, remaining, resetMs } of states) {
    if (claim.onlyLook) continue;
    const separator = policy && ', ';
    policy += `${separator}"${claim.policy}";q=${claim.limit};w=${claim.windowMs / 1_000}`;
    standing += `${separator}"${claim.policy}";r=${remaining};t=${Math.ceil(resetMs / 1_000)}`;
  }
  if (policy) void reply.header('ratelimit-policy', policy).header('ratelimit', standing);
}
