const LENGTH_MAX = 255;

/** An RFC 9651 string, or what many clients send instead: the same without quotes. */
const QUOTED = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/;
const BARE = /^[A-Za-z0-9._:/+=~-]+$/;

/** The key that an `Idempotency-Key` header names, or null when it names none: 1 to 255 ASCII characters. */
export function parseIdempotencyKey(header: string): string | null {
  const text = header.trim();
  const key = BARE.test(text) ? text : QUOTED.exec(text)?.[1]?.replace(/\\(.)/g, '$1');
  return key && key.length <= LENGTH_MAX ? key : null;
}
