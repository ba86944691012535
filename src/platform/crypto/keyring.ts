import { Inject, Injectable } from '@nestjs/common';
import { ENV, type Env } from '../../config/env';
import { deriveKey } from './derivation';
import { seal, unseal } from './sealing';

/** Something that is stored encrypted. */
export interface Sealed {
  /** Which key it is under. */
  readonly keyId: string;
  readonly sealed: Buffer;
}

/**
 * The keys of what is stored encrypted for long, and so must be able to change. The first of `ENCRYPTION_KEYS` seals,
 * all of them open, and so does `SECRET_KEY`, which seals when there are none.
 */
@Injectable()
export class Keyring {
  /** What is not under this key is to be sealed anew. */
  readonly keyId: string;
  private readonly keys: ReadonlyMap<string, Buffer>;

  constructor(@Inject(ENV) env: Pick<Env, 'ENCRYPTION_KEYS' | 'SECRET_KEY'>) {
    const keys = [...env.ENCRYPTION_KEYS, env.SECRET_KEY].map((secret): [string, Buffer] => [
      deriveKey(secret, 'encryption-id').toString('base64url').slice(0, 12),
      deriveKey(secret, 'encryption'),
    ]);
    this.keys = new Map(keys);
    this.keyId = keys[0]?.[0] ?? '';
  }

  /** @param owner whose it is; sealed for one, it does not open for another. */
  seal(text: string, owner: string): Sealed {
    return { keyId: this.keyId, sealed: seal(this.keyOf(this.keyId), text, Buffer.from(owner)) };
  }

  /** @throws Error when the key is not among the settings, the owner is another, or a byte was changed. */
  open({ keyId, sealed }: Sealed, owner: string): string {
    return unseal(this.keyOf(keyId), sealed, Buffer.from(owner));
  }

  private keyOf(keyId: string): Buffer {
    const key = this.keys.get(keyId);
    if (!key) throw new Error(`Nothing among the settings opens what was sealed under the key ${keyId}.`);
    return key;
  }
}
