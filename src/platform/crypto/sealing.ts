import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { ENV, type Env } from '../../config/env';
import { deriveKey } from './derivation';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const TAG = { authTagLength: TAG_BYTES };

/** Something that is stored encrypted. */
export interface Sealed {
  /** Which key it is under. */
  readonly keyId: string;
  /** Nonce, ciphertext and tag. */
  readonly sealed: Buffer;
}

/**
 * Encrypts what must be read again: AES-256-GCM with a random nonce. The first of `ENCRYPTION_KEYS` seals, all of them
 * open, and so does `SECRET_KEY`, which seals when there are none.
 */
@Injectable()
export class Sealing {
  /** What is not under this key should be sealed anew. */
  readonly keyId: string;
  private readonly keys: ReadonlyMap<string, Buffer>;

  constructor(@Inject(ENV) env: Pick<Env, 'ENCRYPTION_KEYS' | 'SECRET_KEY'>) {
    const keys = [...env.ENCRYPTION_KEYS, env.SECRET_KEY].map((secret): [string, Buffer] => [
      deriveKey(secret, 'sealing-id').toString('base64url').slice(0, 12),
      deriveKey(secret, 'sealing'),
    ]);
    this.keys = new Map(keys);
    this.keyId = keys[0]?.[0] ?? '';
  }

  /** @param owner whose it is; sealed for one, it does not open for another. */
  seal(plain: Buffer, owner: string): Sealed {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.keyOf(this.keyId), nonce, TAG).setAAD(Buffer.from(owner));
    const text = Buffer.concat([cipher.update(plain), cipher.final()]);
    return { keyId: this.keyId, sealed: Buffer.concat([nonce, text, cipher.getAuthTag()]) };
  }

  /** @throws Error when the key is not among the settings, the owner is another, or it was changed. */
  open({ keyId, sealed }: Sealed, owner: string): Buffer {
    const decipher = createDecipheriv(CIPHER, this.keyOf(keyId), sealed.subarray(0, NONCE_BYTES), TAG)
      .setAAD(Buffer.from(owner))
      .setAuthTag(sealed.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  }

  private keyOf(keyId: string): Buffer {
    const key = this.keys.get(keyId);
    if (!key) throw new Error(`Nothing among the settings opens what was sealed under the key ${keyId}.`);
    return key;
  }
}
