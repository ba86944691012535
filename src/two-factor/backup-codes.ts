import { randomBytes } from 'node:crypto';

export const BACKUP_CODE_COUNT = 10;

/** Crockford's base32, without letters that are read as digits: 5 bits a character. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
/** 60 bits. */
const LENGTH = 12;

/** A new backup code from the system's CSPRNG, such as `4x8k-n2m7-p0qt`. */
export function makeBackupCode(): string {
  const characters = [...randomBytes(LENGTH)].map((byte) => ALPHABET.charAt(byte % ALPHABET.length));
  return characters.join('').replace(/....(?=.)/g, '$&-');
}

/** What was typed for a backup code, as it was made: case, spaces, dashes and mistaken letters do not matter. Null when it cannot be one. */
export function readBackupCode(text: string): string | null {
  const plain = text.toLowerCase().replace(/[\s-]/g, '').replace(/o/g, '0').replace(/[il]/g, '1');
  const isCode = plain.length === LENGTH && [...plain].every((character) => ALPHABET.includes(character));
  return isCode ? plain.replace(/....(?=.)/g, '$&-') : null;
}
