import { createHash, createHmac, createPrivateKey, createPublicKey, type JsonWebKey } from 'node:crypto';
import type { Env } from '../config/env';

/** A key of access tokens, with the one algorithm it is for: a token cannot choose another. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: 'HS256' | 'ES256';
  readonly signWith: string;
  readonly verifyWith: string;
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
  return { kid, algorithm: 'HS256', signWith: secret, verifyWith: secret, jwk: undefined };
}

/** The settings have checked that it is a P-256 private key. */
function ellipticKey(pem: string): SigningKey {
  const publicKey = createPublicKey(createPrivateKey(pem));
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' });
  // The thumbprint of RFC 7638: these members, in this order.
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  return {
    kid,
    algorithm: 'ES256',
    signWith: pem,
    verifyWith: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    jwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' },
  };
}
