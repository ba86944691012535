import type { ApiKeyPrincipal } from '../common/principal';
import { isServicePermission } from '../common/service-permissions';

/** What an ordinary API key may be allowed; metered operations declare which of these they need. */
const ORDINARY_PERMISSIONS = ['read', 'write', 'generate'];

/** The permissions a user may put on his keys: the service's own and those of `EXTRA_PERMISSIONS`. */
export function knownPermissions(extra: readonly string[]): string[] {
  return [...new Set([...ORDINARY_PERMISSIONS, ...extra])];
}

/** Whether a key may do what needs `permission`: an empty object allows every ordinary operation. */
export function allows(
  key: Pick<ApiKeyPrincipal, 'permissions' | 'servicePermissions'>,
  permission: string,
): boolean {
  if (isServicePermission(permission)) return key.servicePermissions.includes(permission);
  const names = Object.keys(key.permissions);
  return (
    names.length === 0 || (Object.hasOwn(key.permissions, permission) && key.permissions[permission] === true)
  );
}
