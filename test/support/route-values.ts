import fc from 'fast-check';

/** What the tests of bad input send: JSON texts, so that what JavaScript cannot hold is among them. */

const text = (value: unknown): string => JSON.stringify(value);

/** One nested in the other, `depth` times. */
export const deepArray = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
export const deepObject = (depth: number): string => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth);

const types = [0, 1, '', 'text', true, false, [], ['text'], [[]], {}, { a: 1 }, null].map(text);

const numbers = [
  '-1',
  '1.5',
  '2147483648',
  '9007199254740993',
  '1e21',
  '1e999',
  '-1e999',
  '-0',
  '1e-7',
  '"1"',
  '" 1"',
  '"1e3"',
  '"0x10"',
];

const strings = [
  ' ',
  '\t\r\n',
  'x'.repeat(256),
  'x'.repeat(100_000),
  '\0',
  'a\0b',
  '\ud800',
  'a\udfffb',
  'a\r\nBcc: victim@example.com',
  'a@example.com,b@example.com',
  'a@example.com\r\nRCPT TO:<b@example.com>',
  '"a b"@example.com',
  '\u2028\u2029\u0085',
  '1970-01-01T00:00:00Z',
  '9999-12-31T23:59:60Z',
].map(text);

const objects = [
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"prototype":{"polluted":true}}',
  '{"toString":true,"hasOwnProperty":true,"length":1}',
  '{"\\u0000":true}',
  '{"\\ud800":true}',
  '{"":true}',
  '{"$gt":""}',
  '{"then":"x"}',
  deepArray(40),
  deepObject(40),
  deepArray(2_000),
  deepObject(2_000),
  text(Array.from({ length: 5_000 }, () => 1)),
];

/** A value for a field, of every kind that a caller should not send. */
export const fieldValues: readonly string[] = [...types, ...numbers, ...strings, ...objects];

/** Whole bodies that are no JSON object, or that hold what nobody may send. */
export const rawBodies: readonly (readonly [label: string, body: string | Buffer])[] = [
  ['an array', '[]'],
  ['an array of objects', '[{"a":1}]'],
  ['null', 'null'],
  ['a text', '"text"'],
  ['a number', '1'],
  ['true', 'true'],
  ['an endless number', '1e999'],
  ['2,000 arrays', deepArray(2_000)],
  ['2,000 objects', deepObject(2_000)],
  ['50,000 arrays', deepArray(50_000)],
  ['20,000 objects', deepObject(20_000)],
  ['a deep unknown field', `{"unknown":${deepArray(50_000)}}`],
  ['__proto__', '{"__proto__":{"polluted":true}}'],
  ['__proto__ escaped', '{"\\u005f_proto__":{"polluted":true}}'],
  ['constructor', '{"constructor":{"prototype":{"polluted":true}}}'],
  ['white space', ' \r\n\t'],
  ['an open object', '{'],
  ['half a text', '{"email":"'],
  ['no value', '{"email":}'],
  ['a comma too many', '{"email":"a",}'],
  ['single quotes', "{'email':'a'}"],
  ['two documents', '{"email":"a"}{"email":"b"}'],
  ['NaN', '{"email":NaN}'],
  ['undefined', 'undefined'],
  ['a form', 'email=a%40example.com&password=12345678'],
  ['XML', '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'],
  ['a raw control character', '{"email":"a\u0001"}'],
  ['a NUL byte', '{"email":"a"}\0'],
  ['UTF-16', Buffer.from('{"email":"a"}', 'utf16le')],
  ['bytes of no encoding', Buffer.from([0x7b, 0xff, 0xfe, 0x00, 0x7d])],
  ['gzip', Buffer.from('1f8b0800000000000003ab564a2d2a52b2520a0d7671540200a1f0d2bb0d000000', 'hex')],
];

/** Texts that have broken programs before; each must be refused or come back as it was. */
export const hostileStrings: readonly string[] = [
  'undefined', 'null', 'NaN', 'true', '[object Object]', '0', '-1', '1e1000', '0x7fffffff', '1/0', '٣', '１２',
  "' OR '1'='1", "'; DROP TABLE users; --", '" OR ""="', "admin'--", '1; SELECT pg_sleep(10)', '%27 UNION SELECT 1', '\\', '\\\\', "\\'", '$1', '${1+1}', ':id', '?', '%', '%s%s%s%n', '_',
  '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', 'javascript:alert(1)', '&lt;&#x27;', '<!--', ']]>', '{{7*7}}', '{{constructor.constructor("return 1")()}}', '#{7*7}', '<%= 7*7 %>', '${jndi:ldap://127.0.0.1/a}', '`id`', '$(id)', '; ls', '| cat /etc/passwd', '../../../etc/passwd', '..\\..\\windows', '/dev/null', 'file:///etc/passwd', 'CON', 'C:\\',
  '👩‍👩‍👧‍👦', '🏳️‍🌈', '😀'.repeat(20), 'مرحبا', '\u202etxt.exe', '\u200b', '\ufeff', '\u00ad', '\u2060a', 'é', 'e\u0301', 'ﬁ', 'K', 'İ', 'ß', 'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A', '\ufffd', '\uffff', '𝕿𝖍𝖊', '田中さん', 'ﷺ',
  '\u0001\u0002', '\u001b[31mred\u001b[0m', '\u007f', '\u0085', '\u2028', '\u2029', 'a\nb', 'a\r\nSet-Cookie: a=b', '__proto__', 'constructor', 'hasOwnProperty', 'toString', '=1+1', '@SUM(1)', '{"a":1}', '[]', '"', "'",
]; // prettier-ignore

/** Names of fields that no route takes, those that would be worth taking and those that mean something to JavaScript. */
export const foreignFields: readonly string[] = [
  'unknown', 'id', 'user_id', 'userId', 'is_admin', 'isAdmin', 'role', 'tier', 'tier_override', 'subscription_tier', 'is_verified', 'is_active', 'two_factor_enabled', 'key_hash', 'password_hash', 'passwordHash', 'created_at',
  '', '$where', 'a.b', '__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'toLocaleString', 'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', '__defineGetter__', '__lookupGetter__', 'then', 'toJSON', 'length',
]; // prettier-ignore

/** JSON texts for a field that takes one e-mail address; none of them is one. */
export const addressSpellings: readonly string[] = [
  '["a@example.com"]', '{"a@example.com":1}', '{"address":"a@example.com"}',
  ...['a@example.com,b@example.com', 'a@example.com;b@example.com', 'a@example.com b@example.com', 'a@example.com\r\nBcc: b@example.com', 'a@example.com%0d%0aBcc: b@example.com', '"a b"@example.com', '"a"@example.com', 'a@b@example.com', '<a@example.com>', 'A <a@example.com>', 'a@[127.0.0.1]', 'a@127.0.0.1', 'a@localhost', 'a@example.com\0', 'a@exam\0ple.com', 'mailto:a@example.com', 'a(b)@example.com', 'a@example.com(b)', `${'a'.repeat(65)}@example.com`, `a@${'b'.repeat(250)}.com`, 'é@example.com', 'a@.com', '.a@example.com', '@example.com', 'a'].map(text),
]; // prettier-ignore

/** Content types that are not JSON, or are spelled so that a careless comparison takes one for the other; '' sends none. */
export const contentTypes: readonly string[] = [
  '', 'text/plain', 'text/json', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json\ta', 'application/json a', 'application/json;', 'application/json; charset=utf-16', 'application/json, text/plain', 'text/plain, application/json', ' application/json', 'APPLICATION/JSON', 'Application/Json; Charset=UTF-8', 'application/problem+json', 'application/jsonx', 'application/*', '*/*', 'json', 'application/octet-stream',
]; // prettier-ignore

/** Texts for a query parameter, encoded as far as they go. */
export const queryTexts: readonly string[] = [
  ...hostileStrings.map(encodeURIComponent),
  '%',
  '%zz',
  '%ED%A0%80',
  '%FF',
  '',
  '-1',
  '0',
  '1.5',
  '2147483648',
  '1e999',
];

/** Texts for a path parameter that is an id; none of them is one that exists. */
export const pathTexts: readonly string[] = [
  ...hostileStrings.map(encodeURIComponent),
  '0',
  '-1',
  '1e999',
  '%00',
  '%0d%0a',
  'a'.repeat(256),
  'a'.repeat(257),
  'a'.repeat(5_000),
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '%ED%A0%80',
  '%FF',
  '%',
  '{id}',
  '*',
];

/** Bodies that are nearly the example, with fields changed or left out, and some that are nothing like it; the same for the same seed. */
export function madeUpBodies(
  example: Readonly<Record<string, unknown>>,
  count: number,
  seed: number,
): Record<string, unknown>[] {
  const anyText = fc.oneof(fc.constantFrom(...hostileStrings), fc.string({ unit: 'binary', maxLength: 300 }));
  const anything = fc.oneof(
    fc.jsonValue({ stringUnit: 'binary', maxDepth: 4 }),
    anyText,
    fc.integer(),
    fc.double(),
  );
  const known = Object.entries(example).map(([name, value]) => [
    name,
    fc.oneof(
      { weight: 3, arbitrary: fc.constant(value) },
      { weight: 1, arbitrary: anything },
      { weight: 1, arbitrary: anyText },
    ),
  ]);
  const nearly = fc.record(Object.fromEntries(known) as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: [],
  });
  const wild = fc.dictionary(anyText, anything, { maxKeys: 5 });
  return fc.sample(fc.oneof({ weight: 3, arbitrary: nearly }, { weight: 1, arbitrary: wild }), {
    numRuns: count,
    seed,
  });
}
