import type { ApiKeyPrincipal } from '../common/principal';

/** What an ordinary API key may be allowed; metered operations declare which of these they need. */
const ORDINARY_PERMISSIONS = ['read', 'write', 'generate'];

/** What only an admin grants, to the operator's own services; never implied by an empty object. */
export const servicePermissions = ['keys:verify', 'usage:write'] as const;

/** The permissions a user may put on his keys: the service's own and those of `EXTRA_PERMISSIONS`. */
export function knownPermissions(extra: readonly string[]): string[] {
  return [...new Set([...ORDINARY_PERMISSIONS, ...extra])];
}

/** Whether a key may do what needs `permission`: an empty object allows every ordinary operation. */
export function allows(
  key: Pick<ApiKeyPrincipal, 'permissions' | 'servicePermissions'>,
  permission: string,
): boolean {
  if (servicePermissions.some((name) => name === permission))
    return key.servicePermissions.includes(permission);
  const names = Object.keys(key.permissions);
  return (
    names.length === 0 || (Object.hasOwn(key.permissions, permission) && key.permissions[permission] === true)
  );
}
