import { Injectable } from '@nestjs/common';
import { ApiKeyAuthenticator } from '../api-keys/api-key-authenticator';
import { AskedPermissions } from '../api-keys/asked-permissions';
import { allows } from '../api-keys/permissions';
import type { Verdict } from '../common/denials';
import type { ApiKeyPrincipal } from '../common/principal';
import type { ClaimState } from '../limits/decision';
import { claimsOf, generalPolicies, meteredPolicies } from '../limits/policies';
import { RateLimiter } from '../limits/rate-limiter';
import { type BudgetStanding, CapLook } from './cap-look';

/** A call that a backend is about to serve, as it describes it. */
export interface AskedCall {
  readonly key: string;
  /** The address of the backend's client; undefined: not known. */
  readonly address: string | undefined;
  /** What the operation needs; undefined: any key will do. */
  readonly permission: string | undefined;
}

/** Whether the call may be served. */
export interface Verification {
  readonly code: Verdict;
  /** Whose key it is; null: nobody's. */
  readonly principal: ApiKeyPrincipal | null;
  /** Where the rate limits stand now; empty when they were not asked. */
  readonly limits: readonly ClaimState[];
  /** The budget with the least left; null when there is none or it was not asked. */
  readonly budget: BudgetStanding | null;
  /** Until there is a place again, in milliseconds; null unless RATE_LIMITED. */
  readonly waitMs: number | null;
}

/** Answers backends that ask about a key, by the rules that hold for calls of this service itself. */
@Injectable()
export class VerificationService {
  constructor(
    private readonly authenticator: ApiKeyAuthenticator,
    private readonly limiter: RateLimiter,
    private readonly caps: CapLook,
    private readonly permissions: AskedPermissions,
  ) {}

  /** Decides about a call. VALID takes one place of each rate limit of the key, for the call counts; a refusal takes none. @throws ApiError `unknown_permissions`. */
  async verify({ key, address, permission }: AskedCall): Promise<Verification> {
    this.permissions.check(permission);
    const { state, principal } = await this.authenticator.authenticate(key);
    const refused = (code: Verdict): Verification => ({
      code,
      principal,
      limits: [],
      budget: null,
      waitMs: null,
    });
    if (state !== 'VALID') return refused(state);
    if (principal.allowedIps && !(address !== undefined && principal.allowedIps.has(address)))
      return refused('FORBIDDEN');
    if (permission !== undefined && !allows(principal, permission))
      return refused('INSUFFICIENT_PERMISSIONS');

    const { full, budget } = await this.caps.look(principal);
    if (full) return { ...refused(full.cap === 'tokens' ? 'PLAN_INACTIVE' : 'BUDGET_EXCEEDED'), budget };

    const names = [...generalPolicies(principal), ...meteredPolicies];
    const claims = claimsOf(names, { principal, ip: address ?? '', email: undefined });
    const { states, refused: limited } = await this.limiter.take(claims);
    return {
      code: limited ? 'RATE_LIMITED' : 'VALID',
      principal,
      limits: states,
      budget,
      waitMs: limited?.waitMs ?? null,
    };
  }
}
