import { createHmac, timingSafeEqual } from 'node:crypto';

const TOLERANCE_SECONDS = 300;
const PREFIX = 'whsec_';

/** The three headers of a delivery, as they came. */
export interface SignatureHeaders {
  readonly id: string | undefined;
  readonly timestamp: string | undefined;
  /** One signature or several, with a space between them. */
  readonly signature: string | undefined;
}

/**
 * Whether a delivery was signed with one of the secrets, by the Standard Webhooks specification, not more than five
 * minutes ago or ahead.
 * @param rawBody the bytes of the body: JSON that is written anew has another signature.
 * @param secrets one, or two while it is exchanged.
 */
export function isSignedByPolar(
  rawBody: Buffer,
  { id, timestamp, signature }: SignatureHeaders,
  secrets: readonly string[],
  nowMs: number,
): boolean {
  if (!id || !timestamp || !signature || !/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(nowMs / 1_000 - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const given = signature
    .split(' ')
    .filter((part) => part.startsWith('v1,'))
    .map((part) => Buffer.from(part.slice('v1,'.length), 'base64'));
  const expected = secrets
    .flatMap(signingKeys)
    .map((key) => createHmac('sha256', key).update(`${id}.${timestamp}.`).update(rawBody).digest());
  return given.some((one) =>
    expected.some((other) => one.length === other.length && timingSafeEqual(one, other)),
  );
}

/** Polar has signed with the bytes of the whole secret; for secrets made since September 2026 it decodes them first. */
function signingKeys(secret: string): Buffer[] {
  const encoded = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret;
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(encoded) && encoded.length % 4 === 0;
  return [Buffer.from(secret, 'utf8'), ...(isBase64 ? [Buffer.from(encoded, 'base64')] : [])];
}
