import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };
const HOUR_MS = 60 * 60 * 1_000;

/** What the owner of a key says about it, at its making or later. */
describe('the settings of an API key', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { EXTRA_PERMISSIONS: 'memory:search' } });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const call = (key: string, address?: string): Promise<Answer> =>
    t.http.from(address).post('/generate', { key, body: CALL });
  const change = (bearer: string, id: string, body: object): Promise<Answer> =>
    t.http.patch(`/auth/api-keys/${id}`, { bearer, body });

  it('are kept and shown as they were given', async () => {
    const { token } = await t.make.user();
    const settings = {
      name: 'search',
      environment: 'test',
      permissions: { 'memory:search': true },
      rate_limit_per_minute: 7,
      allowed_ips: ['203.0.113.0/24', '2001:db8::/48'],
      metadata: { team: 'search', 'cost centre': '4711' },
      expires_at: '2099-01-01T00:00:00.000Z',
    };
    const { body } = await t.http.post('/auth/api-keys', { bearer: token, body: settings });
    expect(body.api_key).toMatch(/^ctx_test_[0-9A-Za-z]{36}$/);
    expect(body.api_key_info).toMatchObject(settings);
    const shown = await t.http.get(`/auth/api-keys/${body.api_key_info.id}`, { bearer: token });
    expect(shown.body).toEqual(body.api_key_info);
  });

  it('change one by one, in force with the next call, and the key stays the same', async () => {
    const { token, refreshToken, id: userId } = await t.make.user();
    const { id, key } = await t.make.apiKey({ userId, metadata: { team: 'a' } });
    expect((await call(key)).status).toBe(200);

    const changed = await change(token, id, { permissions: { read: true } });
    expect(changed.body).toMatchObject({
      id,
      name: 'test',
      permissions: { read: true },
      metadata: { team: 'a' },
    });
    t.known();
    expect((await call(key)).body.code).toBe('insufficient_permissions');

    await change(token, id, { permissions: {}, rate_limit_per_minute: 3, name: 'other' });
    t.known();
    const { headers } = await call(key);
    expect(headers.get('ratelimit-policy')).toContain('"api-key";q=3;w=60');

    await change(token, id, { expires_at: new Date(Date.now() + HOUR_MS).toISOString() });
    t.clock.advance(HOUR_MS + 1);
    expect((await call(key)).body.code).toBe('expired');
    const login = await t.http.post('/auth/refresh', { body: { refresh_token: refreshToken } });
    await change(login.body.access_token, id, { expires_at: null });
    t.known();
    expect((await call(key)).status).toBe(200);
    const audit = await t.db.query<{ action: string }[]>(
      'SELECT action FROM audit_events WHERE target_id = $1',
      [id],
    );
    expect(audit.map(({ action }) => action)).toEqual(Array(4).fill('key.changed'));
  });

  it.each<[string, object, string]>([
    ['a permission nobody knows', { permissions: { admin: true } }, 'unknown_permissions'],
    ['a service permission', { permissions: { 'keys:verify': true } }, 'unknown_permissions'],
    ['service permissions by their own name', { service_permissions: ['keys:verify'] }, 'validation_failed'],
    ['a rate above the plan', { rate_limit_per_minute: 101 }, 'rate_limit_above_plan'],
    ['an expiry in the past', { expires_at: '2020-01-01T00:00:00Z' }, 'expires_in_the_past'],
    ['another environment', { environment: 'test' }, 'validation_failed'],
    ['being inactive', { is_active: false }, 'validation_failed'],
    ['no name', { name: null }, 'validation_failed'],
    ['another owner', { user_id: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d' }, 'validation_failed'],
    ['a range that is none', { allowed_ips: ['everywhere'] }, 'validation_failed'],
  ])('do not take %s, and stay as they were', async (_what, fields, code) => {
    const { token, id: userId } = await t.make.user();
    const { id } = await t.make.apiKey({ userId });
    const before = await t.http.get(`/auth/api-keys/${id}`, { bearer: token });
    const answer = await change(token, id, { name: 'new', ...fields });
    expect({ status: answer.status, code: answer.body.code as string }).toEqual({ status: 400, code });
    expect((await t.http.get(`/auth/api-keys/${id}`, { bearer: token })).body).toEqual(before.body);
  });

  it('T32: take no name that every object has, and pollute nothing', async () => {
    const { token, id: userId } = await t.make.user();
    const { id } = await t.make.apiKey({ userId });
    for (const field of ['metadata', 'permissions']) {
      for (const inner of [
        '{"__proto__":{"polluted":"yes"}}',
        '{"constructor":{"prototype":{"polluted":"yes"}}}',
      ]) {
        for (const [method, path] of [
          ['POST', ''],
          ['PATCH', `/${id}`],
        ] as const) {
          const answer = await t.http.send(method, `/auth/api-keys${path}`, {
            bearer: token,
            raw: `{"name":"x","${field}":${inner}}`,
            headers: { 'content-type': 'application/json' },
          });
          expect(answer.status).toBe(400);
        }
      }
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('of a deactivated key change no more', async () => {
    const { token, id: userId } = await t.make.user();
    const { id } = await t.make.apiKey({ userId, isActive: false });
    expect((await change(token, id, { name: 'x' })).body.code).toBe('api_key_inactive');
  });

  describe('allowed addresses', () => {
    it.each<[string, number]>([
      ['203.0.113.7', 200],
      ['::ffff:203.0.113.7', 200],
      ['203.0.114.7', 403],
      ['2001:db8:0:1::2', 200],
      ['2001:db9::2', 403],
    ])('answer %s with %i', async (address, status) => {
      const { key } = await t.make.apiKey({ allowedIps: ['203.0.113.0/24', '2001:db8::/48'] });
      const answer = await call(key, address);
      expect(answer.status).toBe(status);
      if (status === 403) expect(answer.body.code).toBe('forbidden');
    });

    it('are those of the client that a trusted proxy names, and of nobody else', async () => {
      const direct = await startTestApp({ settings: { TRUST_PROXY: 'false' } });
      try {
        const { key } = await direct.make.apiKey({ allowedIps: ['203.0.113.0/24'] });
        const headers = {
          'x-forwarded-for': '203.0.113.7',
          'x-real-ip': '203.0.113.7',
          forwarded: 'for=203.0.113.7',
        };
        const answer = await direct.http.post('/generate', { key, body: CALL, headers });
        expect(answer.status).toBe(403);
        const local = await direct.make.apiKey({ allowedIps: ['127.0.0.1'] });
        expect((await direct.http.post('/generate', { key: local.key, body: CALL, headers })).status).toBe(
          200,
        );
      } finally {
        await direct.close();
      }
    });

    it('are no wrong credentials: whoever shares the address is not shut out', async () => {
      const { key } = await t.make.apiKey({ allowedIps: ['203.0.113.0/24'] });
      const elsewhere = t.http.from();
      for (let i = 0; i < 65; i++) {
        expect((await elsewhere.post('/generate', { key, body: CALL })).status).toBe(403);
      }
    });
  });
});
