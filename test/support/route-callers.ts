import type { Sent } from './http';
import type { RouteAccess } from './route-list';
import type { TestApp } from './test-app';

/** What an answer says about the caller's right to call: let in, or the code of the refusal. */
export type Verdict =
  | 'in'
  | 'authentication_required'
  | 'invalid_token'
  | 'disabled'
  | 'expired'
  | 'compromised'
  | 'forbidden'
  | 'insufficient_permissions';

/** The status of each refusal. */
export const refusals: Readonly<Record<Exclude<Verdict, 'in'>, number>> = {
  authentication_required: 401,
  invalid_token: 401,
  disabled: 401,
  expired: 401,
  compromised: 401,
  forbidden: 403,
  insufficient_permissions: 403,
};

type GuardedAccess = Exclude<RouteAccess, 'public'>;

/** A kind of caller, and what each kind of guarded route says to him. */
export interface CallerKind {
  readonly who: string;
  readonly says: Readonly<Record<GuardedAccess, Verdict>>;
  /** A new one of the kind: what he sends. */
  credential(t: TestApp): Promise<Sent>;
}

const HOUR_MS = 3_600_000;
const toAll = (verdict: Verdict): CallerKind['says'] => ({ user: verdict, admin: verdict, api_key: verdict });
const asUser: CallerKind['says'] = { user: 'in', admin: 'forbidden', api_key: 'forbidden' };
const asKey: CallerKind['says'] = { user: 'forbidden', admin: 'forbidden', api_key: 'in' };
const everyPermission = {
  permissions: { read: true, write: true, generate: true },
  servicePermissions: ['keys:verify', 'usage:write'],
};

/** Everyone who may call. A key without the permission is let in where a route needs none. */
export const callerKinds: readonly CallerKind[] = [
  { who: 'nobody', says: toAll('authentication_required'), credential: () => Promise.resolve({}) },
  {
    who: 'a token of garbage',
    says: toAll('invalid_token'),
    credential: () => Promise.resolve({ bearer: 'garbage' }),
  },
  {
    who: 'a key of garbage',
    says: toAll('invalid_token'),
    credential: () => Promise.resolve({ key: 'garbage' }),
  },
  {
    who: 'a user whose token has expired',
    says: toAll('invalid_token'),
    credential: async (t) => {
      t.clock.advance(-2 * HOUR_MS);
      const { token } = await t.make.user();
      t.clock.reset();
      return { bearer: token };
    },
  },
  {
    who: 'a suspended user',
    says: toAll('invalid_token'),
    credential: async (t) => ({ bearer: (await t.make.user({ isActive: false })).token }),
  },
  { who: 'a user', says: asUser, credential: async (t) => ({ bearer: (await t.make.user()).token }) },
  {
    who: 'a user whose address is not proven',
    says: asUser,
    credential: async (t) => ({ bearer: (await t.make.user({ isVerified: false })).token }),
  },
  {
    who: 'an admin',
    says: { ...asUser, admin: 'in' },
    credential: async (t) => ({ bearer: (await t.make.user({ role: 'admin' })).token }),
  },
  {
    who: 'a key with the permission',
    says: asKey,
    credential: async (t) => ({ key: (await t.make.apiKey(everyPermission)).key }),
  },
  {
    who: 'a key with the permission, as bearer token',
    says: asKey,
    credential: async (t) => ({ bearer: (await t.make.apiKey(everyPermission)).key }),
  },
  {
    who: 'a key without the permission',
    says: { ...asKey, api_key: 'insufficient_permissions' },
    credential: async (t) => ({
      key: (await t.make.apiKey({ permissions: { other: true, generate: false } })).key,
    }),
  },
  {
    who: 'an expired key',
    says: { ...toAll('invalid_token'), api_key: 'expired' },
    credential: async (t) => ({
      key: (await t.make.apiKey({ expiresAt: new Date(t.clock.nowMs() - 1) })).key,
    }),
  },
  {
    who: 'a deactivated key',
    says: { ...toAll('invalid_token'), api_key: 'disabled' },
    credential: async (t) => ({ key: (await t.make.apiKey({ isActive: false })).key }),
  },
  {
    who: 'a leaked key',
    says: { ...toAll('invalid_token'), api_key: 'compromised' },
    credential: async (t) => ({
      key: (await t.make.apiKey({ isActive: false, compromisedAt: t.clock.now() })).key,
    }),
  },
  {
    who: 'a key of a suspended user',
    says: { ...toAll('invalid_token'), api_key: 'disabled' },
    credential: async (t) => ({
      key: (await t.make.apiKey({ userId: (await t.make.user({ isActive: false })).id })).key,
    }),
  },
];
