import { v7 as uuidv7 } from 'uuid';
import { denials } from '../../src/common/denials';
import { generateApiKey } from '../../src/api-keys/api-key-secret';
import { Ledger } from '../../src/usage/ledger';
import { PriceBook } from '../../src/usage/price-book';
import { UsageLog } from '../../src/usage/usage-log.entity';
import { eventually } from '../support/billing';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const DAY_MS = 24 * 60 * 60 * 1_000;

describe('in front of backends', () => {
  let t: TestApp;
  let service: string;
  beforeAll(async () => {
    t = await startTestApp();
    const { id: userId } = await t.make.user({ tierOverride: 'internal' });
    const made = { userId, rateLimitPerMinute: 1_000_000, servicePermissions: ['keys:verify'] };
    service = (await t.make.apiKey(made)).key;
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const verify = (body: object): Promise<Answer> => t.http.post('/keys/verify', { key: service, body });
  const forward = (key: string, query = ''): Promise<Answer> =>
    t.http.from().get(`/auth/forward${query}`, { key });

  /** A line of the ledger, of a call now. */
  const line = (fields: Partial<UsageLog>): UsageLog => ({
    id: uuidv7(),
    userId: uuidv7(),
    apiKeyId: null,
    operation: 'generate',
    provider: null,
    model: null,
    inputTokens: 0,
    outputTokens: 0,
    cachedTokens: 0,
    tokensUsed: 0,
    costUsd: '0',
    priceVersion: 0,
    ipAddress: null,
    userAgent: null,
    metadata: { path: '/', method: 'POST', status_code: 200 },
    createdAt: t.clock.now(),
    ...fields,
  });

  /** A key whose owner has used all that his plan includes. */
  async function spent(): Promise<{ key: string }> {
    const { id, key, userId } = await t.make.apiKey();
    const tokens = { inputTokens: 10_000, tokensUsed: 10_000 };
    await t.app.get(Ledger, { strict: false }).append(line({ userId, apiKeyId: id, ...tokens }));
    return { key };
  }

  describe('POST /keys/verify', () => {
    it('says whose key it is, and counts a valid one as a call', async () => {
      const { id: userId } = await t.make.user({ billingTier: 'starter' });
      const { id, key } = await t.make.apiKey({ userId, metadata: { team: 'a' }, rateLimitPerMinute: 7 });
      const answer = await verify({ key });
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({
        valid: true,
        code: 'VALID',
        key_id: id,
        user_id: userId,
        plan: 'starter',
        environment: 'live',
        permissions: {},
        metadata: { team: 'a' },
        retry_after: null,
        request_id: answer.headers.get('x-request-id'),
      });
      expect(answer.body.ratelimits).toContainEqual({
        name: 'api-key',
        limit: 7,
        window_seconds: 60,
        remaining: 6,
        reset_seconds: 60,
      });
    });

    it('shows the budget with the least left, of the key or of its account, also when it is used up', async () => {
      const { id: userId } = await t.make.user({ billingTier: 'starter', monthlyBudgetUsd: '0.5' });
      const { key, id } = await t.make.apiKey({ userId, monthlyBudgetUsd: '2' });
      const budget = async (text = key): Promise<Record<string, unknown> | null> =>
        (await verify({ key: text })).body.budget as Record<string, unknown> | null;
      const month = new Date(t.clock.nowMs());
      expect(await budget()).toEqual({
        scope: 'account',
        limit_usd: 0.5,
        used_usd: 0,
        held_usd: 0,
        remaining_usd: 0.5,
        resets_at: new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1)).toISOString(),
      });
      await t.app.get(Ledger, { strict: false }).append(line({ userId, apiKeyId: id, costUsd: '0.2' }));
      t.clock.advance(1_000);
      expect(await budget()).toMatchObject({ used_usd: 0.2, remaining_usd: 0.3 });

      const { key: own } = await t.make.apiKey({ userId, monthlyBudgetUsd: '0.1' });
      expect(await budget(own)).toMatchObject({ scope: 'api_key', limit_usd: 0.1, used_usd: 0 });
      const { key: none } = await t.make.apiKey({ userId, monthlyBudgetUsd: '0' });
      expect((await verify({ key: none })).body).toMatchObject({
        code: 'BUDGET_EXCEEDED',
        budget: { scope: 'api_key', limit_usd: 0, remaining_usd: 0 },
      });
      expect(await budget((await t.make.apiKey()).key)).toBeNull();
    });

    it('gives every reason of the one list, and the guard answers each with its status and code', async () => {
      const past = new Date(t.clock.nowMs() - 1);
      const limited = await t.make.apiKey({ rateLimitPerMinute: 1 });
      await verify({ key: limited.key });
      const asked: Record<keyof typeof denials, string> = {
        NOT_FOUND: generateApiKey('live').key,
        DISABLED: (await t.make.apiKey({ isActive: false })).key,
        EXPIRED: (await t.make.apiKey({ expiresAt: past })).key,
        COMPROMISED: (await t.make.apiKey({ isActive: false, compromisedAt: past })).key,
        FORBIDDEN: (await t.make.apiKey({ allowedIps: ['203.0.113.0/24'] })).key,
        INSUFFICIENT_PERMISSIONS: (await t.make.apiKey({ permissions: { write: true } })).key,
        RATE_LIMITED: limited.key,
        BUDGET_EXCEEDED: (await t.make.apiKey({ monthlyBudgetUsd: '0' })).key,
        PLAN_INACTIVE: (await spent()).key,
      };
      for (const [code, key] of Object.entries(asked) as [keyof typeof denials, string][]) {
        const answer = await verify({ key, permission: 'read', ip_address: '198.51.100.1' });
        expect({ code, ...answer.body }).toMatchObject({ code, valid: false });
        expect(answer.body.code).toBe(code);
        const guarded = await forward(key, '?permission=read');
        expect({ code, status: guarded.status, problem: guarded.body.code as string }).toEqual({
          code,
          status: denials[code].status,
          problem: denials[code].problem,
        });
      }
      expect((await verify({ key: limited.key })).body.retry_after).toBeGreaterThan(50);
      expect((await verify({ key: asked.FORBIDDEN, ip_address: '203.0.113.9' })).body.code).toBe('VALID');
      expect((await verify({ key: asked.FORBIDDEN })).body.code).toBe('FORBIDDEN');
    });

    it('says of nobody’s key nothing more than that', async () => {
      for (const key of ['garbage', generateApiKey('live').key]) {
        const { body } = await verify({ key });
        expect(body).toMatchObject({ code: 'NOT_FOUND', key_id: null, user_id: null, plan: null });
      }
    });

    it('takes no place for a refusal, and lets exactly the limit pass of many at once', async () => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 5, permissions: { read: true } });
      for (let i = 0; i < 10; i++) await verify({ key, permission: 'write' });
      const answers = await Promise.all(Array.from({ length: 20 }, () => verify({ key })));
      expect(answers.filter(({ body }) => body.valid === true)).toHaveLength(5);
    });

    it('spends the same limit as calls of this service itself', async () => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 3 });
      const body = { user_id: 'u', prompt: 'hi', provider: 'echo' };
      await verify({ key });
      await forward(key);
      expect((await t.http.post('/generate', { key, body })).status).toBe(200);
      expect((await verify({ key })).body.code).toBe('RATE_LIMITED');
      expect((await forward(key)).status).toBe(429);
    });

    it.each<[string, Record<string, boolean>]>([
      ['no permissions at all', {}],
      ['every ordinary permission', { read: true, write: true, generate: true }],
      ['the name among its ordinary permissions', { 'keys:verify': true }],
    ])('is not for a key with %s', async (_what, permissions) => {
      const { key } = await t.make.apiKey({ permissions });
      const answer = await t.http.post('/keys/verify', { key, body: { key } });
      expect({ status: answer.status, code: answer.body.code as string }).toEqual({
        status: 403,
        code: 'insufficient_permissions',
      });
      expect(answer.body.detail).toContain('PUT /api/v1/admin/api-keys/{id}/permissions');
    });

    it('is not for a person, and names what is wrong with a question', async () => {
      const { token } = await t.make.user({ role: 'admin' });
      expect((await t.http.post('/keys/verify', { bearer: token, body: { key: 'x' } })).status).toBe(403);
      expect((await verify({})).body.code).toBe('validation_failed');
      expect((await verify({ key: 'x', ip_address: 'here' })).body.code).toBe('validation_failed');
    });
  });

  describe('service permissions', () => {
    it('are granted by an admin, in force at once, and taken away again', async () => {
      const admin = await t.make.user({ role: 'admin' });
      const { id, key } = await t.make.apiKey();
      const grant = (service_permissions: string[], bearer = admin.token): Promise<Answer> =>
        t.http.put(`/admin/api-keys/${id}/permissions`, { bearer, body: { service_permissions } });
      const ask = (): Promise<Answer> => t.http.post('/keys/verify', { key, body: { key: 'x' } });
      expect((await ask()).status).toBe(403);
      expect((await grant(['keys:verify'])).body.service_permissions).toEqual(['keys:verify']);
      expect((await ask()).status).toBe(200);
      expect(
        (await t.http.post('/generate', { key, body: { user_id: 'u', prompt: 'p', provider: 'echo' } }))
          .status,
      ).toBe(200);
      await grant([]);
      expect((await ask()).status).toBe(403);
      expect((await grant(['keys:everything'])).body.code).toBe('validation_failed');
      const { token } = await t.make.user();
      expect((await grant(['keys:verify'], token)).status).toBe(403);
      const nobodys = await t.http.put('/admin/api-keys/019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d/permissions', {
        bearer: admin.token,
        body: { service_permissions: [] },
      });
      expect(nobodys.body.code).toBe('no_such_api_key');
      const audit = await t.db.query<object[]>(
        `SELECT actor FROM audit_events WHERE action = 'key.granted' AND target_id = $1`,
        [id],
      );
      expect(audit).toEqual([{ actor: admin.id }, { actor: admin.id }]);
    });
  });

  it.each([['reed'], ['keys'], ['__proto__']])(
    'asks about no permission that there is not, such as "%s": a key without permissions of its own would pass',
    async (permission) => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 1 });
      for (const answer of [
        await verify({ key, permission }),
        await forward(key, `?permission=${permission}`),
      ]) {
        expect(answer).toMatchObject({ status: 400, body: { code: 'unknown_permissions' } });
        expect(answer.body.detail).toContain(`"${permission}". Known are read, write, generate`);
      }
    },
  );

  describe('GET /auth/forward', () => {
    it('lets a request pass with who has the key', async () => {
      const { key, id, userId } = await t.make.apiKey();
      for (const answer of [await forward(key), await t.http.get('/auth/forward', { bearer: key })]) {
        expect([answer.status, answer.text]).toEqual([204, '']);
        expect(answer.headers.get('x-user-id')).toBe(userId);
        expect(answer.headers.get('x-api-key-id')).toBe(id);
        expect(answer.headers.get('x-plan')).toBe('free');
      }
    });

    it('is asked by Envoy with any method and any path behind', async () => {
      const { key, userId } = await t.make.apiKey();
      for (const path of ['', '/', '/v1/memories/7?q=1']) {
        const url = `${t.url}/api/v1/auth/forward${path}`;
        for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
          const passed = await fetch(url, { method, headers: { 'x-api-key': key } });
          expect([method, path, passed.status]).toEqual([method, path, 204]);
          expect(passed.headers.get('x-user-id')).toBe(userId);
          expect((await fetch(url, { method })).status).toBe(401);
        }
      }
    });

    it('reads no body of the request it is asked about, whatever its type and size', async () => {
      const { key } = await t.make.apiKey();
      const bodies: [type: string, body: string][] = [
        ['application/json', '{"open":'],
        ['text/xml', '<a/>'],
        ['nonsense', 'x'],
        ['application/octet-stream', 'x'.repeat(1_000_000)],
      ];
      for (const path of ['', '/v1/memories']) {
        for (const [type, body] of bodies) {
          const headers = { 'x-api-key': key, 'content-type': type };
          const url = `${t.url}/api/v1/auth/forward${path}`;
          const { status } = await fetch(url, { method: 'POST', headers, body });
          expect([path, type, status]).toEqual([path, type, 204]);
        }
      }
    });

    it('takes no place for a refusal for want of a permission, nor for an unknown one', async () => {
      const { key, userId } = await t.make.apiKey({ rateLimitPerMinute: 5, permissions: { read: true } });
      for (let i = 0; i < 10; i++) {
        expect((await forward(key, '?permission=write')).body.code).toBe('insufficient_permissions');
        expect((await forward(key, '?permission=reed')).body.code).toBe('unknown_permissions');
      }
      const { key: other } = await t.make.apiKey({ userId });
      expect((await forward(other)).headers.get('ratelimit')).toContain('"plan-hour";r=2999;');
      const answers = await Promise.all(Array.from({ length: 20 }, () => forward(key, '?permission=read')));
      expect(answers.filter(({ status }) => status === 204)).toHaveLength(5);
      expect(answers.filter(({ status }) => status === 429)).toHaveLength(15);
    });

    it('asks for the permission with any method, and leaves alone the query of a path behind', async () => {
      const { key } = await t.make.apiKey({ permissions: { read: true } });
      const ask = async (method: string, path: string): Promise<number> =>
        (await fetch(`${t.url}/api/v1/auth/forward${path}`, { method, headers: { 'x-api-key': key } }))
          .status;
      const read = '?permission=read';
      for (const method of ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS']) {
        expect([method, await ask(method, read)]).toEqual([method, 204]);
        expect([method, await ask(method, '?permission=write')]).toEqual([method, 403]);
        expect([method, await ask(method, `${read}&permission=write`)]).toEqual([method, 400]);
        for (const path of ['/', '/v1/memories'])
          expect([method, path, await ask(method, `${path}?permission=write`)]).toEqual([method, path, 204]);
      }
    });

    it('is not for a person', async () => {
      const { token } = await t.make.user();
      expect((await t.http.get('/auth/forward', { bearer: token })).status).toBe(403);
    });
  });

  describe('the routes of the Cortex Memory SDK', () => {
    it('say whose key it is and what it may use', async () => {
      const { key, userId } = await t.make.apiKey({ rateLimitPerMinute: 60 });
      const usage_limits = { requests_per_minute: 60, requests_per_hour: 3_000, requests_per_day: 20_000 };
      const validated = await t.http.get('/auth/validate', { bearer: key });
      expect(validated.body).toEqual({ user_id: userId, plan: 'free', usage_limits });
      const plan = await t.http.get('/auth/plan', { bearer: key });
      expect(plan.body).toEqual({
        plan: 'free',
        name: 'Free',
        price_usd_per_month: 0,
        limits: usage_limits,
        usage: { requests_today: 0, tokens_today: 0, cost_today_usd: 0 },
      });
      expect((await t.http.get('/auth/validate', { bearer: 'ctx_live_garbage' })).status).toBe(401);
    });

    it('tell what a call would find, and consume nothing', async () => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 2 });
      const check = (): Promise<Answer> =>
        t.http.get('/usage/check?operation=memory.search', { bearer: key });
      for (let i = 0; i < 5; i++) {
        expect((await check()).body).toMatchObject({
          allowed: true,
          operation: 'memory.search',
          limit: 2,
          remaining: 2,
          reset_at: expect.any(String) as string,
        });
      }
      await forward(key);
      expect((await check()).body).toMatchObject({ remaining: 1 });
      await forward(key);
      const full = await check();
      expect([full.status, full.body.code]).toEqual([429, 'rate_limited']);
      expect(Number(full.headers.get('retry-after'))).toBeGreaterThan(50);
      expect((await t.http.get('/usage/check?operation=', { bearer: key })).status).toBe(400);
      const { key: used } = await spent();
      const capped = await t.http.get('/usage/check?operation=memory.search', { bearer: used });
      expect([capped.status, capped.body.code]).toEqual([429, 'cap_reached']);
    });

    it('write a line for the owner of the key, whose time without a zone is UTC', async () => {
      const { key, id, userId } = await t.make.apiKey();
      const yesterday = new Date(t.clock.nowMs() - DAY_MS).toISOString();
      const body = {
        operation: 'memory.add',
        timestamp: yesterday.replace('Z', '000'),
        metadata: { memories: 3 },
      };
      const tracked = await t.http.post('/usage/track', { bearer: key, body });
      expect([tracked.status, tracked.body]).toEqual([200, { message: 'Usage tracked' }]);
      const [line, ...more] = await t.db.findBy(UsageLog, { userId });
      expect(more).toEqual([]);
      expect(line).toMatchObject({
        apiKeyId: id,
        operation: 'memory.add',
        tokensUsed: 0,
        costUsd: '0.000000000',
      });
      expect(line?.createdAt.toISOString()).toBe(yesterday);
      expect(line?.metadata).toMatchObject({ reported: { memories: 3 } });
      const stats = await t.http.get('/usage/stats', { bearer: key });
      expect(stats.body).toMatchObject({ total_requests: 1, total_tokens: 0, requests_today: 0 });
    });

    it("charge the operation's price per call, as an admin has set it", async () => {
      const { token } = await t.make.user({ role: 'admin' });
      const { key, userId } = await t.make.apiKey();
      const price = {
        operation: 'memory.priced',
        input_usd_per_million: 5,
        output_usd_per_million: 5,
        request_usd: 0.002,
      };
      expect((await t.http.post('/admin/prices', { bearer: token, body: price })).status).toBe(200);
      t.clock.advance(6_000);
      for (const app of t.apps) await app.get(PriceBook, { strict: false }).onModuleInit();
      await t.http.post('/usage/track', { bearer: key, body: { operation: 'memory.priced' } });
      const [priced] = await t.db.findBy(UsageLog, { userId });
      expect(priced).toMatchObject({ tokensUsed: 0, costUsd: '0.002000000' });
      expect(priced?.priceVersion).toBeGreaterThan(0);
    });

    it('count against the budget of the account, and tell its owner when it is used up', async () => {
      const { token } = await t.make.user({ role: 'admin' });
      const user = await t.make.user({ tierOverride: 'starter', monthlyBudgetUsd: '0.004000' });
      const { key } = await t.make.apiKey({ userId: user.id });
      const operation = `memory.${uuidv7()}`;
      const price = { operation, input_usd_per_million: 0, output_usd_per_million: 0, request_usd: 0.004 };
      expect((await t.http.post('/admin/prices', { bearer: token, body: price })).status).toBe(200);
      t.clock.advance(6_000);
      for (const app of t.apps) await app.get(PriceBook, { strict: false }).onModuleInit();
      expect((await t.http.post('/usage/track', { bearer: key, body: { operation } })).status).toBe(200);
      await eventually(async () => (await t.mails(user.email)).length > 0);
      const subjects = (await t.mails(user.email)).map(({ subject }) => subject);
      expect(subjects).toEqual([expect.stringContaining('100 %')]);
    });

    it.each<[string, object, string]>([
      [
        'of next week',
        { timestamp: new Date(Date.now() + 7 * DAY_MS).toISOString() },
        'timestamp_out_of_range',
      ],
      ['of long ago', { timestamp: '1970-01-01T00:00:00' }, 'timestamp_out_of_range'],
      ['at no time', { timestamp: 'yesterday' }, 'validation_failed'],
      ['with too much to keep', { metadata: { a: 'x'.repeat(4_096) } }, 'validation_failed'],
      ['of an operation without a name', { operation: '' }, 'validation_failed'],
      ["in somebody else's name", { user_id: 'victim' }, 'validation_failed'],
    ])('write no line %s', async (_what, fields, code) => {
      const { key, userId } = await t.make.apiKey();
      const answer = await t.http.post('/usage/track', { bearer: key, body: { operation: 'x', ...fields } });
      expect({ status: answer.status, code: answer.body.code as string }).toEqual({ status: 400, code });
      expect(await t.db.countBy(UsageLog, { userId })).toBe(0);
    });
  });
});
