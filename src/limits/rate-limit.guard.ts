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
import { oncePerRoute } from '../common/once-per-route';
import type { RequestState } from '../common/principal';
import type { ClaimState } from './decision';
import { LimitErrors, rateLimited } from './limits.errors';
import { addressClaim, type Claim, claimsOf, generalPolicies, type PolicyName, unitOf } from './policies';
import { RATE_LIMITS_METADATA, TOKENS_AT_MOST_METADATA, type TokensAtMost } from './rate-limit.decorator';
import { RateLimiter } from './rate-limiter';

const SKIP_METADATA = 'THROTTLER:SKIPdefault';

/** What a route adds; null: it is not limited at all. */
type RouteLimits = { readonly names: readonly PolicyName[]; readonly tokensAtMost?: TokensAtMost } | null;

/**
 * Step 2 of the pipeline. The throttler's guard asks one limit after the other and its storage costs more with every
 * live hit; here all policies of a request are asked in one go, at constant cost, and a refused request consumes none.
 * Every answer carries `RateLimit-Policy` and `RateLimit` (IETF draft-ietf-httpapi-ratelimit-headers).
 */
@Injectable()
export class RateLimitGuard extends ThrottlerGuard {
  private readonly limitsOf = oncePerRoute((context) => this.readLimits(context));

  constructor(
    @Inject(getOptionsToken()) options: ThrottlerModuleOptions,
    @Inject(getStorageToken()) storage: ThrottlerStorage,
    reflector: Reflector,
    private readonly limiter: RateLimiter,
  ) {
    super(options, storage, reflector);
  }

  /** @throws ApiError `rate_limited`, naming the policy and how long to wait; `tokens_above_limit`. */
  override async canActivate(context: ExecutionContext): Promise<boolean> {
    const ofRoute = this.limitsOf(context);
    if (!ofRoute) return true;

    const [request, reply] = context.getArgs<[FastifyRequest & RequestState, FastifyReply]>();
    const { email, new_email } = (request.body ?? {}) as { email?: unknown; new_email?: unknown };
    const { names, tokensAtMost } = ofRoute;
    const claimant = {
      principal: request.user,
      ip: request.ip,
      email: email ?? new_email,
      tokensAtMost: () => tokensAtMost?.(request.body) ?? 0,
    };
    const all = claimsOf([...generalPolicies(request.user), ...names], claimant);
    const hopeless = all.find(isHopeless);
    // As any bad input, it spends of the limits that it can.
    const claims = hopeless ? all.filter((claim) => !isHopeless(claim)) : all;
    // Wrong credentials that other processes have seen count too, within the one question.
    if (request.user && this.limiter.isShared)
      claims.push({ ...addressClaim('wrong-credentials', request.ip), onlyLook: true });
    const decision = await this.limiter.take(claims);

    setRateLimitHeaders(reply, decision.states);
    const refusal = rateLimited(decision);
    if (refusal) throw refusal;
    if (hopeless) throw LimitErrors.tokensAboveLimit(hopeless.places ?? 1, hopeless.policy, hopeless.limit);
    return true;
  }

  private readLimits(context: ExecutionContext): RouteLimits {
    const handler = context.getHandler();
    if (this.reflector.getAllAndOverride<boolean | undefined>(SKIP_METADATA, [handler, context.getClass()]))
      return null;
    const names = this.reflector.get<PolicyName[] | undefined>(RATE_LIMITS_METADATA, handler) ?? [];
    const tokensAtMost = this.reflector.get<TokensAtMost | undefined>(TOKENS_AT_MOST_METADATA, handler);
    return { names, tokensAtMost };
  }
}

/** It would never find so many places, however long it waited. */
function isHopeless({ places = 1, limit }: Claim): boolean {
  return places > 1 && places > limit;
}

/** `"name";q=limit;w=seconds`, with `qu` for what is not requests, and `"name";r=remaining;t=seconds`, one member per policy (RFC 9651 lists). */
function setRateLimitHeaders(reply: FastifyReply, states: readonly ClaimState[]): void {
  let policy = '';
  let standing = '';
  for (const { claim, remaining, resetMs } of states) {
    if (claim.onlyLook) continue;
    const separator = policy && ', ';
    const unit = unitOf(claim.policy);
    const quotaUnit = unit === 'requests' ? '' : `;qu="${unit}"`;
    policy += `${separator}"${claim.policy}";q=${claim.limit}${quotaUnit};w=${claim.windowMs / 1_000}`;
    standing += `${separator}"${claim.policy}";r=${remaining};t=${Math.ceil(resetMs / 1_000)}`;
  }
  if (policy) void reply.header('ratelimit-policy', policy).header('ratelimit', standing);
}
