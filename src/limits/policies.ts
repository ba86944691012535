import { createHash } from 'node:crypto';
import type { Principal } from '../common/principal';
import { canonicalEmail, EMAIL_LENGTH_MAX } from '../users/canonical-email';
import { plans } from '../users/plans';
import { addressKey } from './address-key';

/** Who shares a limit: everyone behind an address (IPv4, or IPv6 /64), one user, one API key, or whoever names one e-mail address. */
export const scopes = ['address', 'user', 'api_key', 'email'] as const;
export type Scope = (typeof scopes)[number];

/** What a request is known by. */
export interface Claimant {
  readonly principal: Principal | undefined;
  readonly ip: string;
  /** The `email` or `new_email` of the body, as it was sent. */
  readonly email: unknown;
  /** The most tokens that the request may use; asked for only when a policy counts them. */
  readonly tokensAtMost?: () => number;
}

/** What a policy counts. */
export const units = ['requests', 'tokens'] as const;
export type Unit = (typeof units)[number];

export interface Policy {
  readonly scope: Scope;
  readonly windowSeconds: number;
  /** Default: requests. */
  readonly unit?: Unit;
  /** A number, or what the caller's plan or key says (of an `api_key`, to a user: the most his plan allows); null: no limit. */
  readonly limit: number | ((principal: Principal | undefined) => number | null);
}

/** Every rate limit of the service. The names appear in the `RateLimit-Policy` header and in problem texts. */
export const policies = {
  anonymous: { scope: 'address', windowSeconds: 60, limit: 600 },
  user: { scope: 'user', windowSeconds: 60, limit: (who) => (who?.tier === 'internal' ? null : 1_200) },
  'api-key': {
    scope: 'api_key',
    windowSeconds: 60,
    limit: (who) => {
      if (!who) return null;
      const most = plans[who.tier].keyRatePerMinuteMax;
      return who.kind === 'api_key' ? Math.min(who.rateLimitPerMinute, most) : most;
    },
  },
  'plan-hour': {
    scope: 'user',
    windowSeconds: 3_600,
    limit: (who) => (who ? plans[who.tier].requestsPerHourMax : null),
  },
  'plan-day': {
    scope: 'user',
    windowSeconds: 86_400,
    limit: (who) => (who ? plans[who.tier].requestsPerDayMax : null),
  },
  'generate-tokens': {
    scope: 'user',
    windowSeconds: 60,
    unit: 'tokens',
    limit: (who) => (who ? plans[who.tier].tokensPerMinuteMax.generate : null),
  },
  'wrong-credentials': { scope: 'address', windowSeconds: 60, limit: 60 },
  'register-minute': { scope: 'address', windowSeconds: 60, limit: 10 },
  'register-hour': { scope: 'address', windowSeconds: 3_600, limit: 100 },
  login: { scope: 'address', windowSeconds: 60, limit: 20 },
  'reset-email': { scope: 'email', windowSeconds: 3_600, limit: 5 },
  'reset-address': { scope: 'address', windowSeconds: 3_600, limit: 20 },
  'verify-email': { scope: 'address', windowSeconds: 60, limit: 20 },
  'resend-email': { scope: 'email', windowSeconds: 3_600, limit: 5 },
  'resend-address': { scope: 'address', windowSeconds: 3_600, limit: 20 },
  'password-change': { scope: 'user', windowSeconds: 60, limit: 30 },
  'account-export': { scope: 'user', windowSeconds: 3_600, limit: 10 },
  'two-factor': { scope: 'user', windowSeconds: 60, limit: 30 },
  'email-change': { scope: 'user', windowSeconds: 3_600, limit: 10 },
  'email-change-email': { scope: 'email', windowSeconds: 3_600, limit: 5 },
  'key-creation': { scope: 'user', windowSeconds: 60, limit: 30 },
  'key-creation-address': { scope: 'address', windowSeconds: 60, limit: 120 },
  'usage-export': {
    scope: 'user',
    windowSeconds: 60,
    limit: (who) => (who?.tier === 'internal' ? null : 10),
  },
  billing: { scope: 'user', windowSeconds: 60, limit: 20 },
} as const satisfies Record<string, Policy>;

export type PolicyName = keyof typeof policies;
export const policyNames = Object.keys(policies) as PolicyName[];

/** One request's claim on one policy. */
export interface Claim {
  readonly policy: PolicyName;
  /** Who claims: an address, a user's id, a key's id, or the digest of an e-mail address. */
  readonly key: string;
  readonly limit: number;
  readonly windowMs: number;
  /** How many places it takes; default: 1. */
  readonly places?: number;
  /** Refuses when no place is left, but takes none. */
  readonly onlyLook?: true;
}

/** The policies that every request of such a caller falls under, before those its route adds. */
export function generalPolicies(principal: Principal | undefined): readonly PolicyName[] {
  if (!principal) return ['anonymous'];
  return principal.kind === 'user' ? ['user'] : ['api-key'];
}

/** What every metered call falls under besides. */
export const meteredPolicies = ['plan-hour', 'plan-day'] as const satisfies readonly PolicyName[];

/** What a caller claims of some policies, but those that do not limit him. */
export function claimsOf(names: readonly PolicyName[], claimant: Claimant): Claim[] {
  const claims: Claim[] = [];
  for (const name of names) {
    const claim = claimOf(name, claimant);
    if (claim) claims.push(claim);
  }
  return claims;
}

/** What a caller claims of a policy, or null when it does not limit him. */
export function claimOf(name: PolicyName, claimant: Claimant): Claim | null {
  const policy: Policy = policies[name];
  const limit = limitFor(name, claimant.principal);
  const key = keyOf(policy.scope, claimant);
  if (limit === null || key === undefined) return null;
  const claim = { policy: name, key, limit, windowMs: policy.windowSeconds * 1_000 };
  return policy.unit === 'tokens' ? { ...claim, places: claimant.tokensAtMost?.() ?? 0 } : claim;
}

/** What a policy counts. */
export function unitOf(name: PolicyName): Unit {
  const { unit = 'requests' }: Policy = policies[name];
  return unit;
}

/** The limit that a policy sets a caller; null: none. */
export function limitFor(name: PolicyName, principal: Principal | undefined): number | null {
  const { limit }: Policy = policies[name];
  return typeof limit === 'number' ? limit : limit(principal);
}

/** The claim of an address on a policy whose limit is a fixed number. */
export function addressClaim(name: 'wrong-credentials', ip: string): Claim {
  const { limit, windowSeconds } = policies[name];
  return { policy: name, key: addressKey(ip), limit, windowMs: windowSeconds * 1_000 };
}

function keyOf(scope: Scope, { principal, ip, email }: Claimant): string | undefined {
  switch (scope) {
    case 'address':
      return addressKey(ip);
    case 'user':
      return principal?.userId;
    case 'api_key':
      return principal?.kind === 'api_key' ? principal.apiKeyId : undefined;
    case 'email':
      // Whatever is longer is no address: the input is refused next, and must not be remembered.
      return typeof email === 'string' && email.length <= EMAIL_LENGTH_MAX
        ? createHash('sha256').update(canonicalEmail(email)).digest('base64url')
        : undefined;
  }
}
