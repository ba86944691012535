import { randomBytes } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { toDataURL } from 'qrcode';
import { EntityManager, Equal, IsNull, LessThan, MoreThan, MoreThanOrEqual, Not } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../common/clock';
import { ENV, type Env } from '../config/env';
import { type Actor, Audit } from '../platform/audit/audit';
import { Keyring } from '../platform/crypto/keyring';
import { Passwords } from '../platform/crypto/passwords';
import { Mailer } from '../platform/mail/mailer';
import type { User } from '../users/user.entity';
import { UsersService } from '../users/users.service';
import { BackupCode } from './backup-code.entity';
import { BACKUP_CODE_COUNT, makeBackupCode, readBackupCode } from './backup-codes';
import { matchingStep, otpauthUrl } from './totp';
import { TwoFactor } from './two-factor.entity';
import { TwoFactorResets } from './two-factor-resets';
import { TwoFactorErrors } from './two-factor.errors';

/** RFC 4226, 4: 160 bits are recommended. */
const SECRET_BYTES = 20;
const SALT_BYTES = 16;
/** A set-up that is not completed in time is over. */
const SETUP_LIFE_MS = 15 * 60_000;

/** One set-up per user: a new one takes the place of the one before, in one statement. */
const SET_UP_SQL = `
  INSERT INTO two_factors (id, user_id, key_id, sealed, backup_salt, created_at) VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (user_id) WHERE enabled_at IS NULL
  DO UPDATE SET id = excluded.id, key_id = excluded.key_id, sealed = excluded.sealed,
                backup_salt = excluded.backup_salt, created_at = excluded.created_at`;

/** What an authenticator app needs to know. */
export interface Setup {
  /** In base32, to be typed. */
  readonly secret: string;
  readonly otpauthUrl: string;
  /** The URL as a QR code: a PNG, as data URI. */
  readonly qrCode: string;
}

/** A second factor that was found right, or a reset that is due; nothing is used up before {@link TwoFactorService.use}. */
export type Proof =
  | { readonly kind: 'app'; readonly factorId: string; readonly step: number }
  | { readonly kind: 'backup_code'; readonly factorId: string; readonly hash: Buffer }
  | { readonly kind: 'reset'; readonly factorId: string };

/** Backup codes that were made and not yet stored. */
export interface NewBackupCodes {
  readonly codes: readonly string[];
  readonly hashes: readonly Buffer[];
}

/** Authenticators and backup codes: making, checking and ending them. Attempts are counted by who calls. */
@Injectable()
export class TwoFactorService {
  private readonly issuer: string;

  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly users: UsersService,
    private readonly passwords: Passwords,
    private readonly keyring: Keyring,
    private readonly resets: TwoFactorResets,
    private readonly mailer: Mailer,
    private readonly audit: Audit,
    @Inject(ENV) env: Env,
  ) {
    this.issuer = env.SERVICE_NAME === env.PUBLIC_URL ? new URL(env.PUBLIC_URL).hostname : env.SERVICE_NAME;
  }

  /** Begins a set-up; what is in use goes on until {@link enable}. */
  async setUp({ id: userId, email }: User): Promise<Setup> {
    const secret = randomBytes(SECRET_BYTES);
    const { keyId, sealed } = this.keyring.seal(secret.toString('hex'), userId);
    const salt = randomBytes(SALT_BYTES);
    await this.db.query(SET_UP_SQL, [uuidv7(), userId, keyId, sealed, salt, this.clock.now()]);
    const url = otpauthUrl(secret, this.issuer, email);
    return {
      secret: new URL(url).searchParams.get('secret') ?? '',
      otpauthUrl: url,
      qrCode: await toDataURL(url),
    };
  }

  /** The set-up a user has under way. @throws ApiError `two_factor_setup_missing`. */
  async setupOf(userId: string): Promise<TwoFactor> {
    const madeAfter = new Date(this.clock.nowMs() - SETUP_LIFE_MS);
    const where = { userId, enabledAt: IsNull(), createdAt: MoreThan(madeAfter) };
    const factor = await this.db.findOneBy(TwoFactor, where);
    if (!factor) throw TwoFactorErrors.setupMissing();
    return factor;
  }

  /** The authenticator a user has in use. @throws ApiError `two_factor_not_enabled`. */
  async inUse(userId: string): Promise<TwoFactor> {
    const factor = await this.db.findOneBy(TwoFactor, { userId, enabledAt: Not(IsNull()) });
    if (!factor) throw TwoFactorErrors.notEnabled();
    return factor;
  }

  /** The step of a code of the app, or null when it is wrong; whether it was used before, {@link use} finds out. */
  stepOf(factor: TwoFactor, code: string): number | null {
    const typed = code.replace(/\s/g, '');
    const secret = Buffer.from(this.keyring.open(factor, factor.userId), 'hex');
    return matchingStep(secret, typed, this.clock.nowMs());
  }

  /** Looks at a code of either kind, without using it up; null when it is wrong. */
  async examine(userId: string, code: string): Promise<Proof | null> {
    const factor = await this.db.findOneBy(TwoFactor, { userId, enabledAt: Not(IsNull()) });
    if (!factor) return null;
    const backupCode = readBackupCode(code);
    if (backupCode) {
      const hash = await this.passwords.digest(backupCode, factor.backupSalt);
      return { kind: 'backup_code', factorId: factor.id, hash };
    }
    const step = this.stepOf(factor, code);
    return step === null ? null : { kind: 'app', factorId: factor.id, step };
  }

  /** The reset that takes the place of a code because it was not stopped in time, or null. */
  async dueReset(userId: string): Promise<Proof | null> {
    const factorId = await this.resets.due(userId);
    return factorId === null ? null : { kind: 'reset', factorId };
  }

  /**
   * Uses a proof up, in one statement: of parallel tries one wins. A code of the app shows that the phone is not lost,
   * so it stops a reset that waits; a reset that is used turns the second factor off.
   * @returns false when there was nothing to use: the code was used before, the reset was stopped.
   */
  async use(proof: Proof, by: Actor, userId: string, tx: EntityManager): Promise<boolean> {
    switch (proof.kind) {
      case 'app': {
        const { factorId: id, step } = proof;
        const { affected } = await tx.update(TwoFactor, { id, lastStep: LessThan(step) }, { lastStep: step });
        if (affected === 1) await this.resets.stopWaiting(userId, by, tx);
        return affected === 1;
      }
      case 'backup_code': {
        const isNew = { twoFactorId: proof.factorId, hash: Equal(proof.hash), usedAt: IsNull() };
        const { affected } = await tx.update(BackupCode, isNew, { usedAt: this.clock.now() });
        if (affected !== 1) return false;
        await this.audit.record({ action: 'two_factor.backup_code_used', by, subjectId: userId }, tx);
        await this.mailer.send('backup_code_used', { userId }, tx);
        return true;
      }
      case 'reset': {
        const isUsed = await this.resets.use(proof.factorId, tx);
        if (isUsed) await this.disable(userId, by, { because: 'reset' }, tx);
        return isUsed;
      }
    }
  }

  /** Ten backup codes for an authenticator, to be stored by {@link enable} or {@link replaceBackupCodes}. */
  async makeBackupCodes({ backupSalt }: TwoFactor): Promise<NewBackupCodes> {
    const codes = Array.from({ length: BACKUP_CODE_COUNT }, makeBackupCode);
    const hashes = await Promise.all(codes.map((code) => this.passwords.digest(code, backupSalt)));
    return { codes, hashes };
  }

  /**
   * Puts a set-up in use, in the place of what was in use before; `step`, that of the code which proved it, is used up.
   * @throws ApiError `two_factor_setup_missing` when it was completed or replaced meanwhile.
   */
  async enable(
    setup: TwoFactor,
    step: number,
    backupCodes: NewBackupCodes,
    by: Actor,
    tx: EntityManager,
  ): Promise<void> {
    const { id, userId } = setup;
    // First the account, as a log-in does: a log-in under way that has not asked for a code fails or ends with the other sessions.
    await this.users.setTwoFactor(userId, true, tx);
    await tx.delete(TwoFactor, { userId, enabledAt: Not(IsNull()) });
    const isWaiting = { id, enabledAt: IsNull() };
    const { affected } = await tx.update(TwoFactor, isWaiting, {
      enabledAt: this.clock.now(),
      lastStep: step,
    });
    if (affected !== 1) throw TwoFactorErrors.setupMissing();
    await this.store(id, backupCodes, tx);
    await this.audit.record({ action: 'two_factor.enabled', by, subjectId: userId }, tx);
    await this.mailer.send('two_factor_enabled', { userId }, tx);
  }

  /** Turns the second factor off; what was being set up ends too. */
  async disable(
    userId: string,
    by: Actor,
    details: Record<string, string>,
    tx: EntityManager,
  ): Promise<void> {
    await this.users.setTwoFactor(userId, false, tx);
    await tx.delete(TwoFactor, { userId });
    await this.audit.record({ action: 'two_factor.disabled', by, subjectId: userId, details }, tx);
    await this.mailer.send('two_factor_disabled', { userId }, tx);
  }

  /** Turns off a second factor of since a moment (default: any), because its owner takes the account back; ends set-ups. */
  async disableSince(userId: string, since: Date | undefined, tx: EntityManager): Promise<void> {
    await tx.delete(TwoFactor, { userId, enabledAt: IsNull() });
    const isOurs = { userId, enabledAt: since ? MoreThanOrEqual(since) : Not(IsNull()) };
    if (!(await tx.existsBy(TwoFactor, isOurs))) return;
    await this.disable(userId, { id: userId, origin: null }, { because: 'taken_back' }, tx);
  }

  /** Deletes all that an account that is erased had of a second factor. */
  async erase(userId: string, tx: EntityManager): Promise<void> {
    await tx.delete(TwoFactor, { userId });
  }

  /** Ends the old codes and stores new ones. */
  async replaceBackupCodes(
    { id, userId }: TwoFactor,
    backupCodes: NewBackupCodes,
    by: Actor,
    tx: EntityManager,
  ): Promise<void> {
    await tx.delete(BackupCode, { twoFactorId: id });
    await this.store(id, backupCodes, tx);
    await this.audit.record({ action: 'two_factor.backup_codes_replaced', by, subjectId: userId }, tx);
    await this.mailer.send('backup_codes_replaced', { userId }, tx);
  }

  /** How many backup codes are left. */
  backupCodesLeft(factorId: string, tx: EntityManager): Promise<number> {
    return tx.countBy(BackupCode, { twoFactorId: factorId, usedAt: IsNull() });
  }

  private async store(twoFactorId: string, { hashes }: NewBackupCodes, tx: EntityManager): Promise<void> {
    await tx.insert(
      BackupCode,
      hashes.map((hash) => ({ id: uuidv7(), twoFactorId, hash, usedAt: null })),
    );
  }
}
