import { policyNames } from '../../src/limits/policies';
import { plans } from '../../src/users/plans';
import type { Answer } from '../support/http';
import { isCluster, itAlone, startTestApp, type TestApp } from '../support/test-app';

const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };

describe('rate limits', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const countByStatus = (answers: { status: number }[]): Record<number, number> =>
    Object.fromEntries(
      [...Map.groupBy(answers, ({ status }) => status)].map(([status, list]) => [status, list.length]),
    );

  itAlone('limits-clock')(
    'R26: let exactly the limit of a key through, of ten times as many at once, and free it on time',
    async () => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 20 });
      const burst = (): Promise<{ status: number }[]> =>
        Promise.all(Array.from({ length: 200 }, () => t.http.post('/generate', { key, body: CALL })));
      expect(countByStatus(await burst())).toEqual({ 200: 20, 429: 180 });
      t.clock.advance(60_000);
      expect(countByStatus(await burst())).toEqual({ 200: 20, 429: 180 });
    },
  );

  itAlone('limits-clock')(
    'R29: lock nobody out when the clock steps back by an hour, and let no more than the limit through',
    async () => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 2 });
      const call = async (): Promise<number> => (await t.http.post('/generate', { key, body: CALL })).status;
      expect(await call()).toBe(200);
      t.clock.advance(-3_600_000);
      expect([await call(), await call()]).toEqual([200, 429]);
      t.clock.advance(60_000);
      expect([await call(), await call(), await call()]).toEqual([200, 200, 429]);
    },
  );

  it('keep two keys apart, also of one user', async () => {
    const user = await t.make.user();
    const [a, b] = [
      await t.make.apiKey({ userId: user.id, rateLimitPerMinute: 1 }),
      await t.make.apiKey({ userId: user.id, rateLimitPerMinute: 1 }),
    ];
    for (const { key } of [a, b]) {
      expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(200);
      expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(429);
    }
  });

  itAlone('limits-clock')(
    'say which policy refuses, how long to wait, and tell the truth about both',
    async () => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 2 });
      const first = await t.http.post('/generate', { key, body: CALL });
      expect(first.headers.get('ratelimit-policy')).toBe(
        '"api-key";q=2;w=60, "plan-hour";q=3000;w=3600, "plan-day";q=20000;w=86400',
      );
      // Above 10,000 a place frees up to a thousandth of the window late.
      expect(first.headers.get('ratelimit')).toMatch(
        /^"api-key";r=1;t=60, "plan-hour";r=2999;t=3600, "plan-day";r=19999;t=864\d\d$/,
      );
      await t.http.post('/generate', { key, body: CALL });
      const refused = await t.http.post('/generate', { key, body: CALL });
      expect(refused.status).toBe(429);
      expect(refused.body).toMatchObject({
        code: 'rate_limited',
        detail: expect.stringContaining('"api-key" of 2 requests in 60 s') as string,
        violated_policies: ['api-key'],
      });

      const waitSeconds = Number(refused.headers.get('retry-after'));
      expect(waitSeconds).toBeGreaterThan(0);
      expect(waitSeconds).toBeLessThanOrEqual(60);
      t.clock.advance(waitSeconds * 1_000);
      expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(200);
    },
  );

  it('T29: consume nothing of the other policies when one refuses', async () => {
    const { key } = await t.make.apiKey({ rateLimitPerMinute: 1 });
    await t.http.post('/generate', { key, body: CALL });
    for (let i = 0; i < 10; i++) {
      const refused = await t.http.post('/generate', { key, body: CALL });
      expect(refused.headers.get('ratelimit')).toContain('"plan-hour";r=2999;');
    }
  });

  it('are not consumed by calls that are refused for their credential or permission', async () => {
    const { key } = await t.make.apiKey({ rateLimitPerMinute: 1, permissions: { read: true } });
    expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(403);
    expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(403);
  });

  it('are consumed by bad input, which costs no tokens', async () => {
    const { key } = await t.make.apiKey({ rateLimitPerMinute: 1 });
    expect((await t.http.post('/generate', { key, body: {} })).status).toBe(400);
    expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(429);
  });

  let subnets = 0;
  it.each<[string, string, object, number]>([
    ['sign-up', '/auth/register', { email: 'bad', password: 'x' }, 10],
    ['log-in', '/auth/login', { email: 'bad', password: 'x' }, 20],
    ['password reset', '/auth/password/reset', { email: 'bad' }, 20],
    ['a new verification mail', '/auth/verify-email/resend', { email: 'bad' }, 20],
    ['the second step of a log-in', '/auth/login/two-factor', { challenge_token: '' }, 20],
  ])('2.4.1: slow %s down per network, with Retry-After', async (_what, path, body, limit) => {
    const subnet = (subnets += 1);
    const send = (host: number, from = subnet): Promise<Answer> =>
      t.http.from(`2001:db8:77:${from}::${host}`).post(path, { body: { ...body, email: `bad-${host}` } });
    const answers = await Promise.all(Array.from({ length: limit * 2 }, (_, host) => send(host + 1)));
    expect(countByStatus(answers)).toEqual({ 400: limit, 429: limit });
    for (const answer of answers.filter(({ status }) => status === 429)) {
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect((await send(1, (subnets += 1))).status).toBe(400);
  });

  it('2.4.1: slow key creation down per user and per network', async () => {
    const create = (token: string, address: string): Promise<Answer> =>
      t.http.from(address).post('/auth/api-keys', { bearer: token, body: {} });
    const user = await t.make.user();
    const mine = Array.from({ length: 40 }, (_, i) => create(user.token, `198.51.100.${i + 1}`));
    expect(countByStatus(await Promise.all(mine))).toEqual({ 400: 30, 429: 10 });

    const others = await Promise.all(Array.from({ length: 5 }, () => t.make.user()));
    const theirs = others.flatMap(({ token }) =>
      Array.from({ length: 30 }, (_, i) => create(token, `2001:db8:78:1::${i + 1}`)),
    );
    const answers = await Promise.all(theirs);
    expect(countByStatus(answers)).toEqual({ 400: 120, 429: 30 });
    expect(answers.find(({ status }) => status === 429)?.body).toMatchObject({
      violated_policies: ['key-creation-address'],
    });
  });

  it('tell a user every policy and where he stands, and take one place for it', async () => {
    const user = await t.make.user();
    const client = t.http.from();
    await client.post('/auth/api-keys', { bearer: user.token, body: {} });
    const { status, body } = await client.get('/auth/me/limits', { bearer: user.token });
    expect(status).toBe(200);
    expect(body).toMatchObject({ plan: 'free' });
    const limits = (body as { limits: { name: string; remaining: number | null }[] }).limits;
    expect(limits.map(({ name }) => name)).toEqual(policyNames);
    const named = (name: string): unknown => limits.find((limit) => limit.name === name);
    expect(named('user')).toEqual({
      name: 'user',
      counted_per: 'user',
      limit: 1_200,
      unit: 'requests',
      window_seconds: 60,
      remaining: 1_198,
      reset_seconds: 60,
    });
    expect(named('key-creation')).toMatchObject({ limit: 30, remaining: 29 });
    expect(named('login')).toMatchObject({ limit: 20, remaining: 20, reset_seconds: 0 });
    expect(named('api-key')).toMatchObject({ limit: 100, remaining: null, reset_seconds: null });
    expect(named('plan-hour')).toMatchObject({ limit: 3_000, remaining: 3_000 });
    expect((await client.get('/auth/me/limits')).status).toBe(401);
    const { key } = await t.make.apiKey({ userId: user.id });
    expect((await client.get('/auth/me/limits', { key })).status).toBe(403);
  });

  it('say that the plan `internal` has none', async () => {
    const user = await t.make.user({ tierOverride: 'internal' });
    const { body } = await t.http.get('/auth/me/limits', { bearer: user.token });
    const unlimited = (body as { limits: { name: string; limit: number | null }[] }).limits
      .filter(({ limit }) => limit === null)
      .map(({ name }) => name);
    expect(unlimited).toEqual(['user', 'plan-hour', 'plan-day', 'generate-tokens', 'usage-export']);
  });

  describe('of tokens, where a plan sets one', () => {
    const LIMIT = 3_000;
    beforeAll(() => {
      jest.replaceProperty(plans.free, 'tokensPerMinuteMax', { generate: LIMIT });
    });
    afterAll(() => {
      jest.restoreAllMocks();
    });
    /** A call that may use so many tokens: the echo gives back what it gets. */
    const call = (key: string, tokens: number, fields: object = {}): Promise<Answer> => {
      const body = { ...CALL, prompt: 'x'.repeat(tokens / 2), max_tokens: tokens / 2, ...fields };
      return t.http.from().post('/generate', { key, body });
    };

    it('let as many calls through as the tokens they may use allow, whatever the key, and free them on time', async () => {
      const { id: userId } = await t.make.user();
      const keys = [await t.make.apiKey({ userId }), await t.make.apiKey({ userId })];
      const burst = (): Promise<Answer[]> =>
        Promise.all(Array.from({ length: 10 }, (_, i) => call(keys[i % 2]?.key ?? '', 1_000)));
      const answers = await burst();
      expect(countByStatus(answers)).toEqual({ 200: 3, 429: 7 });
      const refused = answers.find(({ status }) => status === 429);
      expect(refused?.body).toMatchObject({ violated_policies: ['generate-tokens'] });
      expect(refused?.body.detail).toContain('3000 tokens in 60 s');
      expect(refused?.headers.get('ratelimit-policy')).toContain('"generate-tokens";q=3000;qu="tokens";w=60');
      expect(refused?.headers.get('ratelimit')).toMatch(/"generate-tokens";r=0;/);
      // T29: what is refused takes nothing of any policy.
      const left = answers.map(({ headers }) =>
        Number(/"plan-hour";r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1]),
      );
      expect(Math.min(...left)).toBe(2_997);

      // The clock of the limits is that of Redis there.
      if (isCluster) return;
      t.clock.advance(Number(refused?.headers.get('retry-after')) * 1_000);
      expect(countByStatus(await burst())).toEqual({ 200: 3, 429: 7 });
    });

    it('take exactly what a call may use, and nothing for one that is refused as bad input', async () => {
      const { key } = await t.make.apiKey();
      expect((await call(key, 2_000, { user_id: '' })).status).toBe(400);
      expect((await call(key, 2_000, { unknown: 1 })).status).toBe(400);
      expect((await call(key, 2_990)).status).toBe(200);
      expect((await call(key, 12)).status).toBe(429);
      expect((await call(key, 10)).status).toBe(200);
    });

    it('refuse what can never pass as bad input, which takes one of every limit of requests and no tokens', async () => {
      const { key } = await t.make.apiKey({ rateLimitPerMinute: 2 });
      const answer = await call(key, LIMIT + 2);
      expect([answer.status, answer.body.code]).toEqual([400, 'tokens_above_limit']);
      expect(answer.headers.get('ratelimit')).toMatch(/"api-key";r=1;t=60, "plan-hour";r=2999;t=3600, /);
      expect((await call(key, LIMIT)).status).toBe(200);
      expect((await call(key, LIMIT + 2)).status).toBe(429);
    });

    it('are told to the user', async () => {
      const user = await t.make.user();
      const { key } = await t.make.apiKey({ userId: user.id });
      await call(key, 1_000);
      const { body } = await t.http.get('/auth/me/limits', { bearer: user.token });
      expect((body as { limits: object[] }).limits).toContainEqual({
        name: 'generate-tokens',
        counted_per: 'user',
        limit: LIMIT,
        unit: 'tokens',
        window_seconds: 60,
        remaining: 2_000,
        reset_seconds: 60,
      });
    });

    it('do not hold for a plan that sets none', async () => {
      const { id: userId } = await t.make.user({ billingTier: 'starter' });
      const { key } = await t.make.apiKey({ userId });
      const answer = await call(key, 10_000);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('ratelimit-policy')).not.toContain('tokens');
    });
  });

  it.each([0, -1, 2 ** 31, 1e21, null, '5', 1.5])(
    'R26: are not broken by a key whose limit is to be %p: it is refused',
    async (wanted) => {
      const user = await t.make.user({ tierOverride: 'internal' });
      const made = await t.http.post('/auth/api-keys', {
        bearer: user.token,
        body: { name: 'odd', rate_limit_per_minute: wanted },
      });
      expect(made.status).toBe(400);
    },
  );

  it('R26: hold for a key with the greatest limit there is, 2^31 - 1', async () => {
    const user = await t.make.user({ tierOverride: 'internal' });
    const { key } = await t.make.apiKey({ userId: user.id, rateLimitPerMinute: 2 ** 31 - 1 });
    const answer = await t.http.post('/generate', { key, body: CALL });
    expect(answer.headers.get('ratelimit')).toMatch(/^"api-key";r=2147483646;t=6[01]$/);
  });

  itAlone('limits-clock')(
    'stop an address after 60 wrong credentials a minute, and only that address',
    async () => {
      const client = t.http.from();
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => client.get('/auth/me', { bearer: `wrong-${i}` })),
      );
      expect(countByStatus(answers)).toEqual({ 401: 60, 429: 40 });
      const user = await t.make.user();
      expect((await client.get('/auth/me', { bearer: user.token })).status).toBe(429);
      expect((await t.http.from().get('/auth/me', { bearer: user.token })).status).toBe(200);
      t.clock.advance(60_000);
      expect((await client.get('/auth/me', { bearer: user.token })).status).toBe(200);
    },
  );

  it('T28: see one address in a whole IPv6 /64, in IPv4 and its mapped form, and two in two', async () => {
    const status = async (address: string): Promise<number> =>
      (await t.http.from(address).post('/auth/login', { body: { email: 'bad', password: 'x' } })).status;
    const fromPrefix = await Promise.all(
      Array.from({ length: 40 }, (_, i) => status(`2001:db8:1:2::${(i + 1).toString(16)}`)),
    );
    expect(fromPrefix.filter((code) => code === 429)).toHaveLength(20);
    expect(await status('2001:db8:1:3::1')).toBe(400);

    const mapped = await Promise.all(
      Array.from({ length: 40 }, (_, i) => status(i % 2 ? '203.0.113.7' : '::ffff:203.0.113.7')),
    );
    expect(mapped.filter((code) => code === 429)).toHaveLength(20);
    expect(await status('203.0.113.8')).toBe(400);
  });

  it('T28: do not believe X-Forwarded-For unless the proxy is trusted', async () => {
    const direct = await startTestApp({ settings: { TRUST_PROXY: 'false' } });
    try {
      const answers = await Promise.all(
        Array.from({ length: 30 }, () =>
          direct.http.from().post('/auth/login', { body: { email: 'bad', password: 'x' } }),
        ),
      );
      expect(countByStatus(answers)).toEqual({ 400: 20, 429: 10 });
    } finally {
      await direct.close();
    }
  });

  it('leave health checks alone', async () => {
    const answers = await Promise.all(Array.from({ length: 700 }, () => t.http.get('/health/live')));
    expect(countByStatus(answers)).toEqual({ 200: 700 });
  });
});
