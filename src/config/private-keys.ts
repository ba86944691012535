import { createPrivateKey } from 'node:crypto';

/** One private key in PEM. */
export const PEM_BLOCK = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----/g;

/** Whether a text is a private key of P-256, which ES256 signs with. */
export function isP256PrivateKey(pem: string): boolean {
  try {
    return createPrivateKey(pem).asymmetricKeyDetails?.namedCurve === 'prime256v1';
  } catch {
    return false;
  }
}
