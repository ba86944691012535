import { type CanActivate, type ExecutionContext, Injectable, UnauthorizedException } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { AuthGuard as PassportGuard } from '@nestjs/passport';
import type { FastifyRequest } from 'fastify';
import { allows } from '../api-keys/permissions';
import { ACCESS_METADATA, type Access } from '../common/access';
import { CommonErrors } from '../common/common.errors';
import type { Principal, RequestState } from '../common/principal';
import { LimitErrors } from '../limits/limits.errors';
import { type Claim, claimOf } from '../limits/policies';
import { RateLimiter } from '../limits/rate-limiter';
import { credentialScheme, type CredentialScheme } from './strategies';

const passportGuards: Readonly<Record<CredentialScheme, CanActivate>> = {
  'access-token': new (PassportGuard('access-token' satisfies CredentialScheme))(),
  'api-key-header': new (PassportGuard('api-key-header' satisfies CredentialScheme))(),
  'api-key-bearer': new (PassportGuard('api-key-bearer' satisfies CredentialScheme))(),
};

/** Step 1 of the pipeline: finds the caller and checks that the route is for him. A route that does not say whom it is for is for nobody. */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly limiter: RateLimiter,
  ) {}

  /** @throws ApiError 401, 403, or 429 for an address that sent too many wrong credentials. */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const access = this.reflector.getAllAndOverride<Access | undefined>(ACCESS_METADATA, [context.getHandler(), context.getClass()]);
    if (access?.kind === 'public') return true;

    const request = context.switchToHttp().getRequest<FastifyRequest & RequestState>();
    const scheme = credentialScheme(request);
    if (!scheme) throw CommonErrors.authenticationRequired(wanted(access));
    await this.authenticate(scheme, context, request.ip);
    authorize(access, request.user);
    return true;
  }

  /** Wrong credentials are counted per address, and only wrong ones. */
  private async authenticate(scheme: CredentialScheme, context: ExecutionContext, ip: string): Promise<void> {
    const claim = claimOf('wrong-credentials', undefined, ip);
    if (!claim) throw CommonErrors.invalidCredentials();
    const waitMs = this.limiter.waitMs(claim);
    if (waitMs > 0) throw tooManyWrong(claim, waitMs);
    try {
      await passportGuards[scheme].canActivate(context);
    } catch (error) {
      if (!(error instanceof UnauthorizedException)) throw error;
      const { refused } = this.limiter.take([claim]);
      throw refused ? tooManyWrong(claim, refused.waitMs) : CommonErrors.invalidCredentials();
    }
  }
}

/** @throws ApiError 403 when the caller is known but the route is not for him. */
function authorize(access: Access | undefined, principal: Principal | undefined): void {
  if (!access || access.kind === 'public' || !principal) throw CommonErrors.forbidden(wanted(access));
  if (principal.kind !== access.kind) throw CommonErrors.forbidden(wanted(access));
  if (access.kind === 'user' && access.role === 'admin' && (principal as { role?: string }).role !== 'admin') {
    throw CommonErrors.forbidden(wanted(access));
  }
  if (access.kind === 'api_key' && principal.kind === 'api_key' && !allows(principal.permissions, access.permission)) {
    throw CommonErrors.insufficientPermissions(access.permission);
  }
}

function wanted(access: Access | undefined): string {
  switch (access?.kind) {
    case 'user':
      return access.role === 'admin'
        ? 'the access token of an admin, in "Authorization: Bearer"'
        : 'an access token, in "Authorization: Bearer"; log in to get one';
    case 'api_key':
      return 'an API key, in "X-API-Key" or "Authorization: Bearer"';
    default:
      return 'an access rule before anyone may call it';
  }
}

function tooManyWrong({ policy, limit, windowMs }: Claim, waitMs: number): Error {
  return LimitErrors.rateLimited.with({ retryAfterSeconds: Math.ceil(waitMs / 1_000) }, policy, limit, windowMs / 1_000);
}
