import { createHmac, createSecretKey, hkdfSync, type KeyObject, timingSafeEqual } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { parse, stringify } from 'uuid';
import { ENV, type Env } from '../../config/env';

/** What a derived secret is for; each purpose has a key of its own, so a secret of one never passes for another. */
export type Purpose =
  | 'mail-token'
  | 'mail-code'
  | 'refresh-token'
  | 'device-token'
  | 'login-challenge'
  | 'stop-reset'
  | 'attempts'
  | 'audit'
  | 'farewell'
  | 'encryption'
  | 'encryption-id'
  | 'idempotency-key'
  | 'idempotency-fingerprint'
  | 'idempotency-reply';

const ID_BYTES = 16;
const TOKEN_BYTES = ID_BYTES + 32;

/** The 32-byte key of a secret for one purpose. */
export function deriveKey(secret: string, purpose: Purpose): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `cortex-auth:${purpose}`, 32));
}

/** Secrets computed from `SECRET_KEY` instead of stored: HMAC-SHA-256 under a key per purpose (HKDF, RFC 5869). */
@Injectable()
export class Derivation {
  /** As key objects: from bytes each HMAC would make its own, which takes five times as long as the HMAC. */
  private readonly keys = new Map<Purpose, KeyObject>();

  constructor(@Inject(ENV) private readonly env: Env) {}

  /**
   * A token that names an id, in base64url: whoever reads the tables cannot make one.
   * @param context what else the token is bound to; {@link idOf} needs the same.
   */
  token(purpose: Purpose, id: string, context: string): string {
    return Buffer.concat([parse(id), this.mac(purpose, `${context}:${id}`)]).toString('base64url');
  }

  /** The id that a token names, or null when it is not a token of this purpose and context. */
  idOf(purpose: Purpose, token: string, context: string): string | null {
    const bytes = Buffer.from(token, 'base64url');
    if (bytes.length !== TOKEN_BYTES) return null;
    const id = readId(bytes);
    return id && timingSafeEqual(this.mac(purpose, `${context}:${id}`), bytes.subarray(ID_BYTES)) ? id : null;
  }

  /** The 32-byte secret of a purpose and a message. */
  mac(purpose: Purpose, message: string): Buffer {
    return createHmac('sha256', this.keyOf(purpose)).update(message).digest();
  }

  private keyOf(purpose: Purpose): KeyObject {
    let key = this.keys.get(purpose);
    if (!key) {
      key = createSecretKey(deriveKey(this.env.SECRET_KEY, purpose));
      this.keys.set(purpose, key);
    }
    return key;
  }
}

function readId(bytes: Buffer): string | null {
  try {
    return stringify(bytes.subarray(0, ID_BYTES));
  } catch {
    return null;
  }
}
