import type { User } from './user.entity';

/** What an account becomes that its owner has erased: nobody, with an address that nobody can have. */
export function erasedUser(id: string, now: Date): Partial<User> {
  return {
    email: `${id}@erased.invalid`,
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
