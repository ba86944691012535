import { SessionsService } from '../../src/auth/sessions.service';
import { Passwords } from '../../src/platform/crypto/passwords';
import { makeBackupCode } from '../../src/two-factor/backup-codes';
import { codeAt } from '../../src/two-factor/totp';
import { TwoFactorService } from '../../src/two-factor/two-factor.service';
import type { User } from '../../src/users/user.entity';
import type { MadeUser } from './factory';
import type { TestApp } from './test-app';

const STEP_MS = 30_000;

/** An authenticator app: what a phone does. */
export class AuthenticatorApp {
  /** @param secret as an authenticator takes it, in base32. */
  constructor(
    readonly secret: string,
    private readonly t: Pick<TestApp, 'clock'>,
  ) {}

  /** The code of now, or of so many steps later. */
  code(stepsLater = 0): string {
    const step = Math.floor(this.t.clock.nowMs() / STEP_MS) + stepsLater;
    return codeAt(fromBase32(this.secret), step);
  }

  /** Waits until there is a code that has not been used. */
  freshCode(): string {
    this.t.clock.advance(STEP_MS);
    return this.code();
  }
}

/** A user who has turned the second factor on. */
export type Enrolled = MadeUser & {
  readonly app: AuthenticatorApp;
  /** As many as were asked for. */
  readonly backupCodes: readonly string[];
};

/**
 * A user who has turned the second factor on and given a code just now in the session of his `token`; without the
 * routes, which hash ten backup codes.
 */
export async function enrolled(
  t: TestApp,
  fields: Partial<User> = {},
  backupCodeCount = 0,
): Promise<Enrolled> {
  const user = await t.make.user(fields);
  const { app, backupCodes } = await enrol(t, user, backupCodeCount);
  await t.db.transaction((tx) =>
    t.app.get(SessionsService, { strict: false }).noteSecondFactor(user.sessionId, tx),
  );
  return Object.assign(user, { app, backupCodes });
}

/** Turns the second factor of a made user on. */
export async function enrol(
  t: TestApp,
  user: User,
  backupCodeCount = 0,
): Promise<Pick<Enrolled, 'app' | 'backupCodes'>> {
  const twoFactor = t.app.get(TwoFactorService, { strict: false });
  const passwords = t.app.get(Passwords, { strict: false });
  const { secret } = await twoFactor.setUp(user);
  const setup = await twoFactor.setupOf(user.id);
  const codes = Array.from({ length: backupCodeCount }, makeBackupCode);
  const hashes = await Promise.all(codes.map((code) => passwords.digest(code, setup.backupSalt)));
  const by = { id: user.id, origin: null };
  await t.db.transaction((tx) => twoFactor.enable(setup, 0, { codes, hashes }, by, tx));
  return { app: new AuthenticatorApp(secret, t), backupCodes: codes };
}

/** The bytes of base32 text (RFC 4648). */
export function fromBase32(text: string): Buffer {
  const bits = [...text].map((character) =>
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(character).toString(2).padStart(5, '0'),
  );
  return Buffer.from((bits.join('').match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
