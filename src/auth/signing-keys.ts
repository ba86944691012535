import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import type { Env } from '../config/env';

/** A key of access tokens, with the one algorithm it is for: a token cannot choose another. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: 'HS256' | 'ES256';
  /** As key objects: from text, every signature and every check would parse its key again, which takes longer than the rest. */
  readonly signWith: KeyObject;
  readonly verifyWith: KeyObject;
  /** What others verify our tokens with; a shared secret has none. */
  readonly jwk: (JsonWebKey & { kid: string; alg: string; use: 'sig' }) | undefined;
}

/** The keys that are accepted; the first one signs. Two are live while they rotate. */
export function signingKeys(
  env: Pick<Env, 'JWT_SIGNING_KEYS' | 'JWT_SECRET_KEY'>,
): readonly [SigningKey, ...SigningKey[]] {
  const [first, ...rest] = env.JWT_SIGNING_KEYS.map(ellipticKey);
  return first ? [first, ...rest] : [sharedKey(env.JWT_SECRET_KEY)];
}

function sharedKey(secret: string): SigningKey {
  const kid = createHmac('sha256', secret).update('cortex-auth:kid').digest('base64url').slice(0, 12);
  const key = createSecretKey(secret, 'utf8');
  return { kid, algorithm: 'HS256', signWith: key, verifyWith: key, jwk: undefined };
}

/** The settings have checked that it is a P-256 private key. */
function ellipticKey(pem: string): SigningKey {
  const privateKey = createPrivateKey(pem);
  const publicKey = createPublicKey(privateKey);
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' });
  // The thumbprint of RFC 7638: these members, in this order.
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  return {
    kid,
    algorithm: 'ES256',
    signWith: privateKey,
    verifyWith: publicKey,
    jwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' },
  };
}
