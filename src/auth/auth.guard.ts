import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { API_KEY_BEGINNING } from '../api-keys/api-key-secret';
import { AskedPermissions } from '../api-keys/asked-permissions';
import { allows } from '../api-keys/permissions';
import { ACCESS_METADATA, type Access } from '../common/access';
import { ApiError } from '../common/api-error';
import { CommonErrors } from '../common/common.errors';
import { oncePerRoute } from '../common/once-per-route';
import { originOf } from '../common/origin';
import { Clock } from '../common/clock';
import type { Principal, RequestState, UserPrincipal } from '../common/principal';
import { hasRecentSecondFactor, RECENT_SECOND_FACTOR_METADATA } from '../common/recent-second-factor';
import { ENV, type Env } from '../config/env';
import { rateLimited } from '../limits/limits.errors';
import { addressClaim } from '../limits/policies';
import { RateLimiter } from '../limits/rate-limiter';
import { Audit } from '../platform/audit/audit';
import { SessionsService } from './sessions.service';
import { AccessTokenStrategy, ApiKeyStrategy, ask, type Credential, credentialOf } from './strategies';

const ALLOWED_ADDRESS = 'a request from an address that the API key allows (allowed_ips)';

/** Step 1 of the pipeline: finds the caller and checks that the route is for him. A route that does not say whom it is for is for nobody. */
@Injectable()
export class AuthGuard implements CanActivate {
  private readonly keyPrefixes: readonly string[];
  private readonly accessOf = oncePerRoute((context) =>
    this.reflector.getAllAndOverride<Access | undefined>(ACCESS_METADATA, [
      context.getHandler(),
      context.getClass(),
    ]),
  );
  private readonly asksForSecondFactor = oncePerRoute((context) =>
    this.reflector.get<boolean | undefined>(RECENT_SECOND_FACTOR_METADATA, context.getHandler()),
  );

  constructor(
    private readonly reflector: Reflector,
    private readonly limiter: RateLimiter,
    private readonly accessTokens: AccessTokenStrategy,
    private readonly apiKeys: ApiKeyStrategy,
    private readonly sessions: SessionsService,
    private readonly permissions: AskedPermissions,
    private readonly audit: Audit,
    private readonly clock: Clock,
    @Inject(ENV) env: Env,
  ) {
    this.keyPrefixes = [API_KEY_BEGINNING, ...env.IMPORTED_KEY_PREFIXES];
  }

  /** @throws ApiError 401, 403, 429 for an address that sent too many wrong credentials, or 400 `unknown_permissions`. */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const access = this.accessOf(context);
    if (access?.kind === 'public') return true;

    const request = context.switchToHttp().getRequest<FastifyRequest & RequestState>();
    const credential = credentialOf(request, this.keyPrefixes);
    if (!credential) throw CommonErrors.authenticationRequired(wanted(access));
    request.user = await this.authenticate(credential, request, access);
    authorize(access, request.user, request.ip);
    this.askForPermission(access, request.user, request);
    if (this.asksForSecondFactor(context)) await this.askForSecondFactor(request.user);
    return true;
  }

  /** Before the limits, for a refusal takes no place of them. @throws ApiError `insufficient_permissions`, `unknown_permissions`. */
  private askForPermission(access: Access | undefined, principal: Principal, request: FastifyRequest): void {
    if (access?.kind !== 'api_key' || principal.kind !== 'api_key') return;
    const isAsked = typeof access.permission === 'function';
    const permission = isAsked ? access.permission(request) : (access.permission ?? undefined);
    if (isAsked) this.permissions.check(permission);
    if (permission !== undefined && !allows(principal, permission))
      throw CommonErrors.insufficientPermissions(permission);
  }

  /** @throws ApiError `reauthentication_required` on a route marked with `@RecentSecondFactor`. */
  private async askForSecondFactor(principal: Principal): Promise<void> {
    if (principal.kind !== 'user' || this.isRecent(principal)) return;
    // It may have been given to another process within the second for which this one believes what it knows.
    const current = await this.sessions.principalAnew(principal.sessionId, principal.userId);
    if (!current || !this.isRecent(current)) throw CommonErrors.reauthenticationRequired();
  }

  private isRecent(principal: UserPrincipal): boolean {
    return hasRecentSecondFactor(principal, this.clock.nowMs());
  }

  /** Wrong credentials are counted per address, and only wrong ones. Why a key is refused is told where keys belong. */
  private async authenticate(
    credential: Credential,
    request: FastifyRequest,
    access: Access | undefined,
  ): Promise<Principal> {
    const claim = addressClaim('wrong-credentials', request.ip);
    const tooMany = rateLimited(this.limiter.lookHere([claim]));
    if (tooMany) throw tooMany;
    const found =
      credential.kind === 'api-key'
        ? await ask(this.apiKeys, { headers: { 'x-api-key': credential.text } })
        : await ask(this.accessTokens, request);
    if (!(found instanceof ApiError)) return found;
    this.audit.note({
      action: 'credentials.refused',
      by: { id: null, origin: originOf(request) },
      subjectId: null,
      result: 'failure',
    });
    const told = access?.kind === 'api_key' ? found : CommonErrors.invalidCredentials();
    throw rateLimited(await this.limiter.take([claim])) ?? told;
  }
}

/** @throws ApiError 403 when the caller is known but the route is not for him. */
function authorize(access: Access | undefined, principal: Principal | undefined, address: string): void {
  if (!access || access.kind === 'public' || !principal) throw CommonErrors.forbidden(wanted(access));
  if (principal.kind !== access.kind) throw CommonErrors.forbidden(wanted(access));
  if (
    access.kind === 'user' &&
    access.role === 'admin' &&
    (principal as { role?: string }).role !== 'admin'
  ) {
    throw CommonErrors.forbidden(wanted(access));
  }
  if (principal.kind === 'api_key' && principal.allowedIps?.has(address) === false)
    throw CommonErrors.forbidden(ALLOWED_ADDRESS);
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
