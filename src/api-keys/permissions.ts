/** What an ordinary API key may be allowed; metered operations declare which of these they need. */
const ORDINARY_PERMISSIONS = ['read', 'write', 'generate'];

/** The permissions a user may put on his keys: the service's own and those of `EXTRA_PERMISSIONS`. */
export function knownPermissions(extra: readonly string[]): string[] {
  return [...new Set([...ORDINARY_PERMISSIONS, ...extra])];
}

/** Whether a key with these permissions may do what needs `permission`: an empty object allows every ordinary operation. */
export function allows(permissions: Readonly<Record<string, boolean>>, permission: string): boolean {
  const names = Object.keys(permissions);
  return names.length === 0 || (Object.hasOwn(permissions, permission) && permissions[permission] === true);
}
