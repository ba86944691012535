import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { EntityManager, In } from 'typeorm';
import { ApiKeyAuthenticator } from '../../src/api-keys/api-key-authenticator';
import { ApiKey } from '../../src/api-keys/api-key.entity';
import { ApiKeyVersion } from '../../src/api-keys/api-key-version.entity';
import { generateApiKey } from '../../src/api-keys/api-key-secret';
import type { Tier } from '../../src/common/principal';
import { User } from '../../src/users/user.entity';
import { plans } from '../../src/users/plans';
import { startTestApp, type TestApp } from '../support/test-app';

const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };
const HOUR_MS = 60 * 60 * 1_000;

describe('API keys', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { EXTRA_PERMISSIONS: 'memory:search' } });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const create = (bearer: string, body: object): ReturnType<TestApp['http']['post']> =>
    t.http.post('/auth/api-keys', { bearer, body });
  const call = (key: string): ReturnType<TestApp['http']['post']> =>
    t.http.from().post('/generate', { key, body: CALL });

  describe('making one', () => {
    it('shows the key once, and stores only its hash', async () => {
      const user = await t.make.user();
      const { body } = await create(user.token, { name: 'first' });
      expect(body.api_key).toMatch(/^ctx_live_[0-9A-Za-z]{36}$/);
      expect(body.api_key_info).toMatchObject({
        name: 'first',
        key_prefix: body.api_key.slice(0, 13),
        is_active: true,
        permissions: {},
        rate_limit_per_minute: 100,
        last_used: null,
        expires_at: null,
      });
      const list = await t.http.get('/auth/api-keys', { bearer: user.token });
      expect(list.body).toEqual([body.api_key_info]);
      expect(list.text).not.toContain(body.api_key);
      const [row] = await t.db.query<{ row: string }[]>(
        'SELECT api_keys::text AS row FROM api_keys WHERE id = $1',
        [body.api_key_info.id],
      );
      expect(row?.row).not.toContain(body.api_key);
    });

    it.each<[string, object, string]>([
      ['a permission nobody knows', { permissions: { admin: true } }, 'unknown_permissions'],
      ['a service permission', { permissions: { 'keys:verify': true } }, 'unknown_permissions'],
      ['an unknown permission set to false', { permissions: { admin: false } }, 'unknown_permissions'],
      ['a permission called constructor', { permissions: { constructor: true } }, 'validation_failed'],
      ['a rate above the plan', { rate_limit_per_minute: 101 }, 'rate_limit_above_plan'],
      ['a huge rate', { rate_limit_per_minute: 1_000_000_000 }, 'rate_limit_above_plan'],
      ['a rate of zero', { rate_limit_per_minute: 0 }, 'validation_failed'],
      ['a negative rate', { rate_limit_per_minute: -1 }, 'validation_failed'],
      ['a rate beyond 32 bits', { rate_limit_per_minute: 2 ** 31 }, 'validation_failed'],
      ['an expiry in the past', { expires_at: '2020-01-01T00:00:00Z' }, 'expires_in_the_past'],
      ['an expiry without a zone', { expires_at: '2099-01-01T00:00:00' }, 'validation_failed'],
      ['a day that does not exist', { expires_at: '2099-02-30T00:00:00Z' }, 'validation_failed'],
      ['permissions as a list', { permissions: ['read'] }, 'validation_failed'],
      ['a permission that is not a boolean', { permissions: { read: 'yes' } }, 'validation_failed'],
      ["somebody else's id", { user_id: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d' }, 'validation_failed'],
      ['an empty name', { name: '' }, 'validation_failed'],
      ['a range that is none', { allowed_ips: ['203.0.113.0/33'] }, 'validation_failed'],
      ['an address that is no text', { allowed_ips: [7] }, 'validation_failed'],
      ['101 ranges', { allowed_ips: Array(101).fill('203.0.113.1') }, 'validation_failed'],
      ['another environment', { environment: 'prod' }, 'validation_failed'],
      ['notes that are no text', { metadata: { a: 1 } }, 'validation_failed'],
      [
        '51 notes',
        { metadata: Object.fromEntries([...Array(51).keys()].map((n) => [`n${n}`, ''])) },
        'validation_failed',
      ],
      ['a long note', { metadata: { a: 'x'.repeat(501) } }, 'validation_failed'],
      ['a note with a long name', { metadata: { ['x'.repeat(65)]: '' } }, 'validation_failed'],
    ])('refuses %s', async (_what, fields, code) => {
      const user = await t.make.user();
      const answer = await create(user.token, { name: 'key', ...fields });
      expect(answer.status).toBe(400);
      expect(answer.body.code).toBe(code);
      expect(await t.db.countBy(ApiKey, { userId: user.id })).toBe(0);
    });

    it.each<[Tier, number]>([
      ['starter', 1_000],
      ['internal', 2_147_483_647],
    ])('allows the plan %s a rate of %i', async (tier, rate) => {
      const user = await t.make.user({ billingTier: tier });
      const answer = await create(user.token, { name: 'fast', rate_limit_per_minute: rate });
      expect(answer.body.api_key_info.rate_limit_per_minute).toBe(rate);
    });

    it('follows the tier an admin set before the one billing wrote', async () => {
      const user = await t.make.user({ billingTier: 'enterprise', tierOverride: 'free' });
      expect((await create(user.token, { name: 'fast', rate_limit_per_minute: 101 })).status).toBe(400);
    });

    it('gives exactly as many as the plan allows, of twenty asked for at once', async () => {
      const user = await t.make.user();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => create(user.token, { name: `key ${i}` })),
      );
      const codes = answers.map(({ status, body }) => (status === 200 ? 'made' : body.code)).sort();
      const { activeKeysMax } = plans.free;
      expect(codes).toEqual([
        ...Array<string>(20 - activeKeysMax).fill('api_key_limit_reached'),
        ...Array<string>(activeKeysMax).fill('made'),
      ]);
    });

    it('frees a place when one is deactivated', async () => {
      const user = await t.make.user();
      const keys = await Promise.all(
        Array.from({ length: plans.free.activeKeysMax }, () => t.make.apiKey({ userId: user.id })),
      );
      expect((await create(user.token, { name: 'one more' })).status).toBe(400);
      await t.http.delete(`/auth/api-keys/${keys[0]?.id ?? ''}`, { bearer: user.token });
      expect((await create(user.token, { name: 'one more' })).status).toBe(200);
    });

    it('makes none without a credential, whoever the body names', async () => {
      const user = await t.make.user();
      for (const headers of [undefined, { 'x-user-id': user.id }]) {
        const answer = await t.http.post('/auth/api-keys', {
          body: { name: 'x', user_id: user.id },
          ...(headers && { headers }),
        });
        expect(answer.status).toBe(401);
      }
      expect(await t.db.countBy(ApiKey, { userId: user.id })).toBe(0);
    });

    it('waits for a verified address when the settings ask for it', async () => {
      const strict = await startTestApp({ settings: { REQUIRE_EMAIL_VERIFICATION: 'true' } });
      try {
        const unverified = await strict.make.user({ isVerified: false });
        const refused = await strict.http.post('/auth/api-keys', {
          bearer: unverified.token,
          body: { name: 'key' },
        });
        expect(refused.body.code).toBe('email_not_verified');
        const verified = await strict.make.user();
        expect(
          (await strict.http.post('/auth/api-keys', { bearer: verified.token, body: { name: 'key' } }))
            .status,
        ).toBe(200);
      } finally {
        await strict.close();
      }
    });
  });

  describe('using one', () => {
    it('works in X-API-Key and as bearer token', async () => {
      const { key } = await t.make.apiKey();
      expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(200);
      expect((await t.http.post('/generate', { bearer: key, body: CALL })).status).toBe(200);
    });

    it('works for two keys that share a prefix', async () => {
      const [a, b] = [await t.make.apiKey(), await t.make.apiKey()];
      await t.db.update(ApiKeyVersion, { apiKeyId: In([a.id, b.id]) }, { keyPrefix: 'ctx_live_same' });
      expect((await call(a.key)).status).toBe(200);
      expect((await call(b.key)).status).toBe(200);
    });

    it('ends with its expiry', async () => {
      const { key } = await t.make.apiKey({ expiresAt: new Date(Date.now() + HOUR_MS) });
      expect((await call(key)).status).toBe(200);
      t.clock.advance(HOUR_MS + 1);
      expect((await call(key)).status).toBe(401);
    });

    it('ends when it is deactivated, at once and for good', async () => {
      const user = await t.make.user();
      const { id, key } = await t.make.apiKey({ userId: user.id });
      for (let i = 0; i < 2; i++) {
        const answer = await t.http.delete(`/auth/api-keys/${id}`, { bearer: user.token });
        expect(answer.body).toEqual({ message: 'API key deactivated' });
      }
      expect((await call(key)).status).toBe(401);
      const list = await t.http.get('/auth/api-keys', { bearer: user.token });
      expect(list.body).toMatchObject([{ id, is_active: false }]);
    });

    it('ends when its owner is suspended', async () => {
      const { key, userId } = await t.make.apiKey();
      await t.db.update(User, { id: userId }, { isActive: false });
      expect((await call(key)).status).toBe(401);
    });

    it.each<[Record<string, boolean>, number]>([
      [{}, 200],
      [{ generate: true }, 200],
      [{ generate: true, read: false }, 200],
      [{ generate: false }, 403],
      [{ read: true, write: true }, 403],
      [{ 'memory:search': true }, 403],
    ])('with permissions %j answers %i on an operation that needs generate', async (permissions, status) => {
      const user = await t.make.user();
      const created = await create(user.token, { name: 'scoped', permissions });
      const answer = await call(created.body.api_key);
      expect(answer.status).toBe(status);
      if (status === 403) expect(answer.body.code).toBe('insufficient_permissions');
    });

    it('is refused where a person is asked for, and a person where a key is', async () => {
      const user = await t.make.user();
      const { key } = await t.make.apiKey({ userId: user.id });
      expect((await t.http.get('/auth/me', { key })).status).toBe(403);
      expect((await t.http.post('/auth/api-keys', { bearer: key, body: { name: 'x' } })).status).toBe(403);
      expect((await t.http.post('/generate', { bearer: user.token, body: CALL })).status).toBe(403);
    });

    it('refuses garbage and typos without asking the database', async () => {
      const { key } = await t.make.apiKey();
      const queries = t.apps.map((app) => jest.spyOn(app.get(EntityManager), 'query'));
      const isAsked = (): boolean => queries.some(({ mock }) => mock.calls.some(isLookUp));
      const texts = Array.from({ length: 300 }, (_, i) =>
        i % 3 === 0
          ? `${key.slice(0, -1)}${key.endsWith('x') ? 'y' : 'x'}`
          : i % 3 === 1
            ? `ctx_live_${'0'.repeat(36)}`
            : `garbage-${i}`,
      );
      const answers = await Promise.all(
        texts.map((text) => t.http.from().post('/generate', { key: text, body: CALL })),
      );
      expect(answers.every(({ status }) => status === 401)).toBe(true);
      expect(isAsked()).toBe(false);
      await call(key);
      expect(isAsked()).toBe(true);
      for (const spy of queries) spy.mockRestore();
    });

    it('T31: asks the database nothing about 10,000 random or checksum-broken keys', async () => {
      const { key } = await t.make.apiKey();
      const queries = jest.spyOn(Client.prototype, 'query');
      const asked = (): unknown[] => queries.mock.calls.filter(isLookUp);
      const authenticator = t.app.get(ApiKeyAuthenticator, { strict: false });
      const broken = Array.from({ length: 10_000 }, (_, i) => {
        const { key: fresh } = generateApiKey('live');
        return i % 2
          ? randomBytes(40).toString('base64url')
          : fresh.slice(0, -1) + (fresh.endsWith('x') ? 'y' : 'x');
      });
      const found = await Promise.all(broken.map((text) => authenticator.authenticate(text)));
      expect(found.filter(({ state }) => state !== 'NOT_FOUND')).toEqual([]);
      expect(asked()).toEqual([]);
      expect((await authenticator.authenticate(key)).state).toBe('VALID');
      expect(asked().length).toBeGreaterThan(0);
      queries.mockRestore();
    });

    it('refuses a well-formed key that nobody has', async () => {
      expect((await call(generateApiKey('live').key)).status).toBe(401);
    });

    it('is refused in the query', async () => {
      const { key } = await t.make.apiKey();
      expect((await t.http.post(`/generate?api_key=${key}`, { body: CALL })).status).toBe(401);
    });
  });

  describe("another user's key", () => {
    it('is not found, and goes on working', async () => {
      const { id, key } = await t.make.apiKey();
      const stranger = await t.make.user();
      const theirs = await t.http.delete(`/auth/api-keys/${id}`, { bearer: stranger.token });
      const nobodys = await t.http.delete('/auth/api-keys/019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d', {
        bearer: stranger.token,
      });
      expect(theirs.status).toBe(404);
      expect({ ...theirs.body, request_id: '' }).toEqual({ ...nobodys.body, request_id: '' });
      expect((await call(key)).status).toBe(200);
    });

    it('is not listed', async () => {
      await t.make.apiKey();
      const stranger = await t.make.user();
      expect((await t.http.get('/auth/api-keys', { bearer: stranger.token })).body).toEqual([]);
    });
  });
});

/** Whether what is sent to the database, a text or a prepared statement, looks a key up. */
function isLookUp([sent]: unknown[]): boolean {
  const text = typeof sent === 'string' ? sent : (sent as { text?: string }).text;
  return text?.includes('key_hash = ANY') === true;
}
