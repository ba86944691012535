import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { IpList } from './ip-list';
import type { NanoUsd } from './money';

/** The tiers of a plan, lowest first; what each includes stands in `users/plans.ts`. */
export const tiers = ['free', 'starter', 'professional', 'enterprise', 'internal'] as const;
export type Tier = (typeof tiers)[number];

/** A label that a key's text shows (`ctx_live_`, `ctx_test_`), for whoever handles it. */
export const environments = ['live', 'test'] as const;
export type Environment = (typeof environments)[number];

/** A person, known by a bearer access token. */
export interface UserPrincipal {
  readonly kind: 'user';
  readonly userId: string;
  readonly sessionId: string;
  readonly role: 'user' | 'admin';
  readonly tier: Tier;
  readonly twoFactorEnabled: boolean;
  /** When he last gave a second factor in this session. */
  readonly secondFactorAt: Date | null;
}

/** What metered calls of a calendar month (UTC) may cost at most, in nano-dollars; null: no cap. */
export interface Budgets {
  readonly apiKey: NanoUsd | null;
  readonly account: NanoUsd | null;
}

/** A backend, known by an API key; it acts for the key's owner. */
export interface ApiKeyPrincipal {
  readonly kind: 'api_key';
  readonly userId: string;
  readonly apiKeyId: string;
  readonly environment: Environment;
  readonly permissions: Readonly<Record<string, boolean>>;
  /** The owner's notes. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What only an admin grants. */
  readonly servicePermissions: readonly string[];
  /** Who may use the key; null: everyone. */
  readonly allowedIps: IpList | null;
  readonly rateLimitPerMinute: number;
  readonly tier: Tier;
  readonly budgets: Budgets;
}

/** Who is calling: written by AuthGuard, read by everything after it. */
export type Principal = UserPrincipal | ApiKeyPrincipal;

/** What this service keeps on a request besides what Fastify puts there. */
export interface RequestState {
  /** Set by AuthGuard on every route that is not public. */
  user?: Principal;
}

/** Injects the {@link Principal} that AuthGuard found. */
export const CurrentPrincipal = createParamDecorator(
  (_data: unknown, context: ExecutionContext): Principal | undefined =>
    context.switchToHttp().getRequest<RequestState>().user,
);
