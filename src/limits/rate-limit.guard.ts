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
import { LimitErrors } from './limits.errors';
import { claimOf, generalPolicies, type PolicyName } from './policies';
import { RATE_LIMITS_METADATA } from './rate-limit.decorator';
import { type ClaimState, RateLimiter } from './rate-limiter';

const SKIP_METADATA = 'THROTTLER:SKIPdefault';

/**
 * Step 2 of the pipeline. The throttler's guard asks one limit after the other and its storage costs more with every
 * live hit; here all policies of a request are asked in one go, at constant cost, and a refused request consumes none.
 * Every answer carries `RateLimit-Policy` and `RateLimit` (IETF draft-ietf-httpapi-ratelimit-headers).
 */
@Injectable()
export class RateLimitGuard extends ThrottlerGuard {
  constructor(
    @Inject(getOptionsToken()) options: ThrottlerModuleOptions,
    @Inject(getStorageToken()) storage: ThrottlerStorage,
    reflector: Reflector,
    private readonly limiter: RateLimiter,
  ) {
    super(options, storage, reflector);
  }

  /** @throws ApiError `rate_limited`, naming the policy and how long to wait. */
  override canActivate(context: ExecutionContext): Promise<boolean> {
    const targets = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean | undefined>(SKIP_METADATA, targets))
      return Promise.resolve(true);

    const { req, res } = this.getRequestResponse(context) as {
      req: FastifyRequest & RequestState;
      res: FastifyReply;
    };
    const names = [
      ...generalPolicies(req.user),
      ...(this.reflector.get<PolicyName[] | undefined>(RATE_LIMITS_METADATA, context.getHandler()) ?? []),
    ];
    const { email } = (req.body ?? {}) as { email?: unknown };
    const claimant = { principal: req.user, ip: req.ip, email };
    const claims = names.flatMap((name) => claimOf(name, claimant) ?? []);
    const { refused, states } = this.limiter.take(claims);

    setRateLimitHeaders(res, states);
    if (!refused) return Promise.resolve(true);
    const { policy, limit, windowMs, waitMs } = refused;
    throw LimitErrors.rateLimited.with(
      { retryAfterSeconds: Math.ceil(waitMs / 1_000) },
      policy,
      limit,
      windowMs / 1_000,
    );
  }
}

/** `"name";q=limit;w=seconds` and `"name";r=remaining;t=seconds`, one member per policy (RFC 9651 lists). */
function setRateLimitHeaders(reply: FastifyReply, states: readonly ClaimState[]): void {
  if (states.length === 0) return;
  let policy = '';
  let standing = '';
  for (const { claim, remaining, resetMs } of states) {
    const separator = policy && ', ';
    policy += `${separator}"${claim.policy}";q=${claim.limit};w=${claim.windowMs / 1_000}`;
    standing += `${separator}"${claim.policy}";r=${remaining};t=${Math.ceil(resetMs / 1_000)}`;
  }
  void reply.header('ratelimit-policy', policy).header('ratelimit', standing);
}
