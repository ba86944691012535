/** What only an admin grants, to the operator's own services; never implied by an empty object of permissions. */
export const servicePermissions = ['keys:verify', 'usage:write'] as const;

export function isServicePermission(permission: string): boolean {
  return servicePermissions.some((name) => name === permission);
}
