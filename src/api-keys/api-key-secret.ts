import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Environment } from '../common/principal';
import { randomBase62, toBase62 } from '../platform/crypto/base62';

/** An API key looks like this: a fixed beginning, 30 random base62 characters (178 bits) and six of checksum. */
export const API_KEY_PATTERN = /^ctx_(?:live|test)_[0-9A-Za-z]{36}$/;

const RANDOM_LENGTH = 30;
const CHECKSUM_LENGTH = 6;
/** How much of a key is shown, to tell keys apart. */
const PREFIX_LENGTH = 13;

/** What every key of this service begins with, whatever its environment. */
export const API_KEY_BEGINNING = 'ctx_';

/** The same with the environment: what a key in a customer's hands can begin with. */
export const OWN_KEY_BEGINNINGS: readonly string[] = ['ctx_live_', 'ctx_test_'];

/** A key as it is made: the key for its owner, the rest for the table. */
export interface ApiKeySecret {
  readonly key: string;
  readonly hash: string;
  readonly prefix: string;
}

/** Makes a key; afterwards it exists in its owner's hands only. */
export function generateApiKey(environment: Environment): ApiKeySecret {
  const body = `ctx_${environment}_${randomBase62(RANDOM_LENGTH)}`;
  const key = body + checksum(body);
  return { key, hash: hashApiKey(key), prefix: key.slice(0, PREFIX_LENGTH) };
}

/** Whether a text can be a key at all: its form and its checksum are right. Typos and garbage are refused by it, without a look-up. */
export function isWellFormedApiKey(text: string): boolean {
  return (
    API_KEY_PATTERN.test(text) && checksum(text.slice(0, -CHECKSUM_LENGTH)) === text.slice(-CHECKSUM_LENGTH)
  );
}

/** SHA-256 in hex. A fast hash is enough: there is nothing to guess in 178 random bits. */
export function hashApiKey(key: string): string {
  return hash('sha256', key);
}

/** CRC-32 of everything before it, in base62. */
function checksum(text: string): string {
  return toBase62(crc32(text), CHECKSUM_LENGTH);
}
