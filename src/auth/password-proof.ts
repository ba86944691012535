import { Injectable } from '@nestjs/common';
import type { RequestOrigin } from '../common/origin';
import { Attempts } from '../limits/attempts';
import { Passwords } from '../platform/crypto/passwords';
import type { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';
import { AuthErrors } from './auth.errors';

/** Has a user who is logged in show his password again, before something that cannot be undone. */
@Injectable()
export class PasswordProof {
  constructor(
    private readonly users: UsersService,
    private readonly attempts: Attempts,
    private readonly passwords: Passwords,
  ) {}

  /**
   * @returns the account with the password hash that was just verified.
   * @throws ApiError `wrong_password`, also while the account is locked: a wrong one is a guess like any other.
   */
  async ask(userId: string, password: string, origin: RequestOrigin): Promise<User> {
    const user = await this.users.getForLogin(userId);
    const target = { email: user.email };
    const mayGuess = await this.attempts.take(target, origin);
    const isRight = await this.passwords.verify(mayGuess ? user.passwordHash : undefined, password);
    if (!isRight) throw AuthErrors.wrongPassword();
    await this.attempts.giveBack(target);
    return user;
  }
}
