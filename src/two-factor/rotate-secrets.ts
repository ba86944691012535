import { type EntityManager, MoreThan, Not } from 'typeorm';
import { NIL as NIL_ID } from 'uuid';
import type { Keyring } from '../platform/crypto/keyring';
import { TwoFactor } from './two-factor.entity';

const BATCH_ROWS = 100;

/** What a rotation did. */
export interface Rotation {
  readonly rotated: number;
  /** Users whose secret no key of the settings opens. */
  readonly unreadable: readonly string[];
}

/**
 * Encrypts every secret anew that is not under the first key, while the service runs: a hundred are read at a time, and
 * each is replaced by a statement of its own, if it is still the one that was read. It can be broken off and begun again.
 */
export async function rotateSecrets(db: EntityManager, keyring: Keyring): Promise<Rotation> {
  let rotated = 0;
  const unreadable: string[] = [];
  for (let lastId: string = NIL_ID; ;) {
    const batch = await db.find(TwoFactor, {
      where: { keyId: Not(keyring.keyId), id: MoreThan(lastId) },
      order: { id: 'ASC' },
      take: BATCH_ROWS,
    });
    for (const { id, userId, keyId, sealed } of batch) {
      const text = tryToOpen(keyring, { keyId, sealed }, userId);
      if (text === null) unreadable.push(userId);
      else rotated += (await db.update(TwoFactor, { id, keyId }, keyring.seal(text, userId))).affected ?? 0;
      lastId = id;
    }
    if (batch.length < BATCH_ROWS) return { rotated, unreadable };
  }
}

function tryToOpen(keyring: Keyring, ...sealed: Parameters<Keyring['open']>): string | null {
  try {
    return keyring.open(...sealed);
  } catch {
    return null;
  }
}
