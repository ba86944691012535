import { timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { Clock } from '../common/clock';
import { Derivation } from '../platform/crypto/derivation';
import type { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';

const LIFE_MS = 5 * 60_000;

/**
 * What the first step of a log-in gives to an account with a second factor: `<end>.<user's id>.<MAC>`. It says that its
 * bearer knew the password and opens nothing but the second step. None is stored: a change of the password ends it, and
 * so does any log-in, its own among them.
 */
@Injectable()
export class LoginChallenges {
  constructor(
    private readonly users: UsersService,
    private readonly clock: Clock,
    private readonly derivation: Derivation,
  ) {}

  /** @param user with his password hash, which was just verified. */
  issue(user: User): string {
    return this.write(user, this.clock.nowMs() + LIFE_MS);
  }

  /** Whose log-in a challenge belongs to, with his password hash; null when it is none, or over. */
  async userOf(challenge: string): Promise<User | null> {
    const [, end, id] = /^(\d{13})\.([\w-]{36})\.[\w-]{43}$/.exec(challenge) ?? [];
    if (!end || !id || !isUUID(id) || Number(end) <= this.clock.nowMs()) return null;
    const user = await this.users.findByIdForLogin(id);
    const right = user && Buffer.from(this.write(user, Number(end)));
    const given = Buffer.from(challenge);
    return right && right.length === given.length && timingSafeEqual(right, given) ? user : null;
  }

  private write({ id, passwordHash, lastLogin }: User, endMs: number): string {
    const context = `${endMs}:${id}:${passwordHash}:${lastLogin?.getTime() ?? ''}`;
    const mac = this.derivation.mac('login-challenge', context);
    return `${endMs}.${id}.${mac.toString('base64url')}`;
  }
}
