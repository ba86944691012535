import { createHmac, createPublicKey, generateKeyPairSync, type JsonWebKey, verify } from 'node:crypto';
import { startTestApp, TEST_SECRETS, type TestApp } from '../support/test-app';

type Json = Record<string, unknown>;

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (segment: string | undefined): Json =>
  JSON.parse(Buffer.from(segment ?? '', 'base64url').toString()) as Json;

/** Signs by hand, with no library of the service's. */
function forge(header: Json, claims: Json, secret = TEST_SECRETS.JWT_SECRET_KEY, digest = 'sha256'): string {
  const body = `${encode(header)}.${encode(claims)}`;
  return `${body}.${createHmac(digest, secret).update(body).digest('base64url')}`;
}

describe('T30: access tokens', () => {
  let t: TestApp;
  let token: string;
  let header: Json;
  let claims: Json;

  beforeAll(async () => {
    t = await startTestApp();
    ({ token } = await t.make.user());
    [header, claims] = token.split('.').slice(0, 2).map(decode) as [Json, Json];
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const status = async (bearer: string): Promise<number> =>
    (await t.http.from().get('/auth/me', { bearer })).status;

  it('say what RFC 9068 asks', () => {
    expect(header).toEqual({ alg: 'HS256', typ: 'at+jwt', kid: expect.any(String) as string });
    expect(Object.keys(claims).sort()).toEqual(['aud', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub']);
  });

  it('open the account, and so does one forged with the right key: the forgeries below fail for their own reason', async () => {
    expect(await status(token)).toBe(200);
    expect(await status(forge(header, claims))).toBe(200);
  });

  it.each<[string, () => string]>([
    ['algorithm none', () => `${encode({ ...header, alg: 'none' })}.${encode(claims)}.`],
    ['algorithm nOnE', () => `${encode({ ...header, alg: 'nOnE' })}.${encode(claims)}.`],
    [
      'another algorithm with the same key',
      () => forge({ ...header, alg: 'HS512' }, claims, TEST_SECRETS.JWT_SECRET_KEY, 'sha512'),
    ],
    ['RS256 in the header', () => forge({ ...header, alg: 'RS256' }, claims)],
    ['another key', () => forge(header, claims, 'x'.repeat(44))],
    ['the other secret of the service', () => forge(header, claims, TEST_SECRETS.SECRET_KEY)],
    ['no signature', () => token.split('.').slice(0, 2).join('.') + '.'],
    ['two parts', () => token.split('.').slice(0, 2).join('.')],
    ['four parts', () => `${token}.x`],
    [
      'an edited payload',
      () =>
        [
          encode(header),
          encode({ ...claims, sub: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d' }),
          token.split('.')[2],
        ].join('.'),
    ],
    ['a crit header', () => forge({ ...header, crit: ['exp'] }, claims)],
    ['another kid', () => forge({ ...header, kid: '../../dev/null' }, claims)],
    ['no kid', () => forge({ alg: 'HS256', typ: 'at+jwt' }, claims)],
    ['a jku', () => forge({ ...header, jku: 'http://127.0.0.1:1/jwks.json' }, claims)],
    ['a jwk', () => forge({ ...header, jwk: { kty: 'oct', k: 'eA' } }, claims)],
    ['typ JWT', () => forge({ ...header, typ: 'JWT' }, claims)],
    ['no typ', () => forge({ alg: 'HS256', kid: header['kid'] }, claims)],
    ['another issuer', () => forge(header, { ...claims, iss: 'https://evil.test' })],
    ['no issuer', () => forge(header, { ...claims, iss: undefined })],
    ['another audience', () => forge(header, { ...claims, aud: 'https://evil.test' })],
    ['no audience', () => forge(header, { ...claims, aud: undefined })],
    ['no exp', () => forge(header, { ...claims, exp: undefined })],
    ['exp as text', () => forge(header, { ...claims, exp: '9999999999' })],
    [
      'iat an hour ahead',
      () =>
        forge(header, { ...claims, iat: Number(claims['iat']) + 3600, exp: Number(claims['exp']) + 7200 }),
    ],
    ['nbf an hour ahead', () => forge(header, { ...claims, nbf: Number(claims['iat']) + 3600 })],
    ['no sid', () => forge(header, { ...claims, sid: undefined })],
    ['a session of nobody', () => forge(header, { ...claims, sid: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d' })],
    ['an sid that is no UUID', () => forge(header, { ...claims, sid: "' OR 1=1 --" })],
    ['a payload that is no object', () => forge(header, [claims] as unknown as Json)],
  ])('are refused with %s', async (_what, make) => {
    expect(await status(make())).toBe(401);
  });

  it("are refused with another user's session", async () => {
    const other = await t.make.user();
    expect(await status(forge(header, { ...claims, sid: other.sessionId }))).toBe(401);
  });

  it('end with the second they name', async () => {
    const { token: fresh } = await t.make.user();
    t.clock.advance(30 * 60_000 - 2_000);
    expect(await status(fresh)).toBe(200);
    t.clock.advance(3_000);
    expect(await status(fresh)).toBe(401);
  });

  it('are refused in other schemes and places', async () => {
    for (const authorization of [
      token,
      `Basic ${token}`,
      `bearer${token}`,
      `Bearer  ${token}`,
      'Bearer',
      'Bearer ',
    ]) {
      expect((await t.http.from().get('/auth/me', { headers: { authorization } })).status).toBe(401);
    }
    expect((await t.http.from().get(`/auth/me?access_token=${token}`)).status).toBe(401);
  });
});

describe('T30: access tokens with ES256', () => {
  const pem = (): string =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString();
  const [oldKey, newKey] = [pem(), pem()];

  it('are verified by others with the published key alone, and rotate without a refused request (11.1.1)', async () => {
    const before = await startTestApp({ settings: { JWT_SIGNING_KEYS: oldKey } });
    const during = await startTestApp({
      settings: { JWT_SIGNING_KEYS: `${newKey}\n${oldKey}` },
      databaseUrl: before.databaseUrl,
    });
    const after = await startTestApp({
      settings: { JWT_SIGNING_KEYS: newKey },
      databaseUrl: before.databaseUrl,
    });
    try {
      const [oldToken, newToken] = [(await before.make.user()).token, (await during.make.user()).token];
      const ask = async (t: TestApp, bearer: string): Promise<number> =>
        (await t.http.from().get('/auth/me', { bearer })).status;
      expect(
        await Promise.all([
          ask(before, oldToken),
          ask(during, oldToken),
          ask(during, newToken),
          ask(after, newToken),
        ]),
      ).toEqual([200, 200, 200, 200]);
      expect(await ask(after, oldToken)).toBe(401);

      const { body } = await during.http.get('/.well-known/jwks.json');
      const [head, payload, signature] = newToken.split('.');
      const { kid, alg } = decode(head);
      expect(alg).toBe('ES256');
      const jwk = (body.keys as JsonWebKey[]).find((key) => key['kid'] === kid);
      expect(jwk).toMatchObject({ kty: 'EC', crv: 'P-256', use: 'sig' });
      expect(JSON.stringify(body)).not.toContain('"d"');
      const key = createPublicKey({ key: jwk ?? {}, format: 'jwk' });
      const isGenuine = verify(
        'sha256',
        Buffer.from(`${head ?? ''}.${payload ?? ''}`),
        { key, dsaEncoding: 'ieee-p1363' },
        Buffer.from(signature ?? '', 'base64url'),
      );
      expect(isGenuine).toBe(true);
      expect(body.keys).toHaveLength(2);
    } finally {
      await after.close();
      await during.close();
      await before.close();
    }
  });

  it('are refused when an HS256 token uses the public key as its secret', async () => {
    const t = await startTestApp({ settings: { JWT_SIGNING_KEYS: newKey } });
    try {
      const { token } = await t.make.user();
      const [header, claims] = token.split('.').slice(0, 2).map(decode) as [Json, Json];
      const publicPem = createPublicKey(newKey).export({ type: 'spki', format: 'pem' }).toString();
      for (const alg of ['HS256', 'ES256']) {
        expect(
          (await t.http.from().get('/auth/me', { bearer: forge({ ...header, alg }, claims, publicPem) }))
            .status,
        ).toBe(401);
      }
    } finally {
      await t.close();
    }
  });
});
