import type { User } from './user.entity';

/** Below `.invalid`, which belongs to nobody (RFC 2606): every erased account has an address here, and no other has. */
export const ERASED_DOMAIN = 'erased.invalid';

/** What an account becomes that its owner has erased: nobody, with an address that nobody can have. */
export function erasedUser(id: string, now: Date): Partial<User> {
  return {
    email: erasedEmail(id),
    passwordHash: 'erased',
    firstName: null,
    lastName: null,
    company: null,
    role: 'user',
    isActive: false,
    isVerified: false,
    twoFactorEnabled: false,
    lastLogin: null,
    updatedAt: now,
  };
}

/** Whether an account was erased by its owner. */
export function isErased({ id, email }: Pick<User, 'id' | 'email'>): boolean {
  return email === erasedEmail(id);
}

function erasedEmail(id: string): string {
  return `${id}@${ERASED_DOMAIN}`;
}
