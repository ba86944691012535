import { randomInt } from 'node:crypto';
import fc from 'fast-check';

/** Ways around a guard that worked somewhere once: other spellings of a path, headers that speak for a path or a person, credentials that are none. */

/** A path as a proxy, a cache or a path middleware may read it; none of them changes where it leads for the better. */
export function spellings(path: string): string[] {
  const last = path.lastIndexOf('/');
  const joined = (separator: string): string => path.slice(0, last) + separator + path.slice(last + 1);
  const inserted = (part: string): string => path.replace('/v1/', `/v1${part}/`);
  return [
    `/${path}`, `//${path}`, path.replace('/api/', '/api//'), inserted('/'), `${path}/`, `${path}//`, `/.${path}`, inserted('/.'), inserted('/..//v1'), inserted('/x/..'), `/health/..${path}`, `/docs/..${path}`,
    inserted('/%2e'), inserted('/%2e%2e/v1'), `/health/%2e%2e${path}`, `/health%2f..${path}`, joined('%2f'), joined('%2F'), joined('%252f'), joined('%25252f'), joined('\\'), joined('%5c'), joined('/;/'), joined(';/'), inserted('/..;/v1'),
    path.toUpperCase(), path.replace('/auth', '/Auth').replace('/generate', '/Generate'), path.replace('/api', '/%61pi'), path.replace(/[a-z](?=[^a-z]*$)/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
    `${path};x`, `${path};x=y`, `${path};.json`, `${path}.json`, `${path}.`, `${path}%20`, `${path}%09`, `${path}%00`, `${path}%0a`, `${path}%2f`, `${path}%3f`, `${path}%23`, `${path}?`, `${path}?x`, `${path}#x`, `${path}*`, `${path}%ff`, `${path}/..`, `${path}/.`, path.slice(1), `http://localhost${path}`, `http://localhost/health/..${path}`,
  ]; // prettier-ignore
}

/** Headers by which some software lets itself be told another path, method, address or credential. */
export const headerTricks: readonly Readonly<Record<string, string>>[] = [
  { 'x-original-url': '/health' }, { 'x-rewrite-url': '/health' }, { 'x-forwarded-prefix': '/health' }, { 'x-forwarded-uri': '/health' }, { 'x-http-method-override': 'OPTIONS' },
  { 'x-forwarded-for': '127.0.0.1' }, { 'x-real-ip': '127.0.0.1' }, { forwarded: 'for=127.0.0.1' }, { host: '127.0.0.1' }, { referer: 'http://localhost/docs' }, { origin: 'null' },
  { upgrade: 'websocket', connection: 'upgrade, close' }, { cookie: 'session=1; access_token=1' }, { authorization: '' }, { 'x-api-key': '' }, { 'proxy-authorization': 'Bearer x' }, { 'x-internal': '1' },
]; // prettier-ignore

/** Headers by which a gateway tells a backend who calls; nobody may say it to us. */
export function identityHeaders(userId: string): Record<string, string> {
  const names =
    'x-user-id x-user x-userid x-forwarded-user x-auth-request-user x-consumer-id remote-user user';
  return Object.fromEntries(names.split(' ').map((name) => [name, userId]));
}

/** An address for one request alone, so that no limit per address joins two of them. */
export function freshAddress(): Record<string, string> {
  return { 'x-forwarded-for': `10.${randomInt(256)}.${randomInt(256)}.${randomInt(256)}` };
}

/**
 * Made-up credentials, each as the name and the value of a header: noise, tokens of other forms, and a valid token and
 * key with one character changed or an end missing.
 */
export function madeUpCredentials(
  token: string,
  key: string,
  count: number,
  seed: number,
): [name: string, value: string][] {
  // What a header may hold: Latin-1 without control characters.
  const letter = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f);
  const noise = fc.string({ unit: letter.map((code) => String.fromCharCode(code)), maxLength: 200 });
  const word = fc.base64String({ maxLength: 80 });
  const cut = (valid: string): fc.Arbitrary<string> =>
    fc.nat(valid.length - 1).map((length) => valid.slice(0, length));
  const changed = (valid: string): fc.Arbitrary<string> =>
    fc
      .tuple(fc.nat(valid.length - 1), fc.constantFrom('a', 'B', '9', '-', '_', '.', '~'))
      .filter(([at, other]) => valid[at] !== other)
      .map(([at, other]) => valid.slice(0, at) + other + valid.slice(at + 1));

  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = fc.record(
    {
      alg: fc.constantFrom('none', 'HS256', 'RS256', 'nOnE'),
      typ: fc.constantFrom('at+jwt', 'JWT'),
      kid: noise,
      jku: noise,
    },
    { requiredKeys: [] },
  );
  const forged = fc
    .tuple(fc.oneof(head, fc.jsonValue()), fc.jsonValue(), word)
    .map(([header, claims, mac]) => [part(header), part(claims), mac].join('.'));
  const odd = [
    '',
    'null',
    'undefined',
    '[object Object]',
    '..',
    '....',
    '.'.repeat(5_000),
    'a'.repeat(12_000),
    `${token}.`,
    `.${token}`,
    `${token} ${token}`,
    `${key},${key}`,
    `${key}${key}`,
  ];

  const credential = fc.oneof(
    noise,
    word,
    forged,
    changed(token),
    cut(token),
    changed(key),
    cut(key),
    fc.constantFrom(...odd),
  );
  const prefixes = [
    'Bearer ',
    'Bearer ctx_',
    'Bearer ctx_live_',
    'Bearer  ',
    'Bearer',
    'Basic ',
    'Digest ',
    'Token ',
    '',
  ];
  const header = fc.oneof(
    fc.tuple(fc.constant('authorization'), fc.constantFrom(...prefixes), credential),
    fc.tuple(fc.constant('x-api-key'), fc.constantFrom('', 'ctx_live_', 'Bearer '), credential),
  );
  return fc.sample(header, { numRuns: count, seed }).map(([name, prefix, value]) => [name, prefix + value]);
}
