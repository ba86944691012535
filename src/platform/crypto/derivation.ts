import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { ENV, type Env } from '../../config/env';

/** What a derived secret is for; each purpose has a key of its own, so a secret of one never passes for another. */
export type Purpose = 'mail-token' | 'made-up-user' | 'audit';

/** Secrets computed from `SECRET_KEY` instead of stored: HMAC-SHA-256 under a key per purpose (HKDF, RFC 5869). */
@Injectable()
export class Derivation {
  private readonly keys = new Map<Purpose, Buffer>();

  constructor(@Inject(ENV) private readonly env: Env) {}

  /** The 32-byte secret of a purpose and a message, such as a row's id. */
  mac(purpose: Purpose, message: string): Buffer {
    return createHmac('sha256', this.keyOf(purpose)).update(message).digest();
  }

  /** Whether `candidate` is the secret of the message, in constant time. */
  isMac(purpose: Purpose, message: string, candidate: Buffer): boolean {
    const expected = this.mac(purpose, message);
    return candidate.length === expected.length && timingSafeEqual(candidate, expected);
  }

  private keyOf(purpose: Purpose): Buffer {
    let key = this.keys.get(purpose);
    if (!key) {
      key = Buffer.from(hkdfSync('sha256', this.env.SECRET_KEY, '', `cortex-auth:${purpose}`, 32));
      this.keys.set(purpose, key);
    }
    return key;
  }
}
