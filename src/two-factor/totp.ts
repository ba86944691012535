import { timingSafeEqual } from 'node:crypto';
import { hotp, otpauthURL } from 'speakeasy';

/** Time-based one-time codes (RFC 6238) with what every authenticator app takes: HMAC-SHA-1, six digits, steps of 30 seconds. */

const STEP_MS = 30_000;

/**
 * The code of a time step.
 * @param secret the shared key, as bytes.
 */
export function codeAt(secret: Buffer, step: number, digits = 6): string {
  return hotp({ secret: secret.toString('hex'), encoding: 'hex', counter: step, digits });
}

/**
 * The time step a code belongs to: the present one or the one before it, for clocks that lag and people who type.
 * @returns null for any other text.
 */
export function matchingStep(secret: Buffer, code: string, nowMs: number): number | null {
  const typed = Buffer.from(code);
  const now = Math.floor(nowMs / STEP_MS);
  const matches = [now, now - 1].filter((step) => {
    const right = Buffer.from(codeAt(secret, step));
    return right.length === typed.length && timingSafeEqual(right, typed);
  });
  return matches[0] ?? null;
}

/** What an authenticator app is told about a key, to be shown as a QR code. The app shows the issuer above the account. */
export function otpauthUrl(secret: Buffer, issuer: string, account: string): string {
  const label = `${issuer}:${account}`;
  return otpauthURL({ secret: secret.toString('hex'), encoding: 'hex', label, issuer });
}
