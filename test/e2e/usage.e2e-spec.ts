import { UsageLog } from '../../src/usage/usage-log.entity';
import { startTestApp, type TestApp } from '../support/test-app';

const DAY_MS = 24 * 60 * 60 * 1_000;

describe('metered calls', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({
      settings: {
        OPENAI_API_KEY: 'sk-nobody',
        OPENAI_BASE_URL: 'http://127.0.0.1:9/v1',
        PROVIDER_TIMEOUT_SECONDS: '5',
      },
    });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const generate = (key: string, fields: object = {}): ReturnType<TestApp['http']['post']> =>
    t.http.post('/generate', {
      key,
      body: { user_id: 'end-user-7', prompt: 'Hello, how are you?', provider: 'echo', ...fields },
    });
  const linesOf = (userId: string): Promise<UsageLog[]> => t.db.findBy(UsageLog, { userId });
  const stats = async (token: string): Promise<Record<string, number>> =>
    (await t.http.get('/auth/usage/stats', { bearer: token })).body as Record<string, number>;

  it('answers with the tokens, their exact price and the id of the line in the ledger', async () => {
    const { key, id, userId } = await t.make.apiKey();
    const answer = await t.http.post('/generate', {
      key,
      body: { user_id: 'end-user-7', prompt: 'Hello, how are you?', provider: 'echo' },
      headers: { 'user-agent': 'my backend/1.0' },
    });
    expect(answer.body).toEqual({
      request_id: answer.headers.get('x-request-id'),
      text: 'Hello, how are you?',
      provider: 'echo',
      model: 'echo',
      usage: { input_tokens: 6, output_tokens: 6, total_tokens: 12, cost_usd: 0.0012 },
    });
    expect(await linesOf(userId)).toEqual([
      {
        id: answer.body.request_id,
        userId,
        apiKeyId: id,
        operation: 'generate',
        provider: 'echo',
        model: 'echo',
        inputTokens: 6,
        outputTokens: 6,
        cachedTokens: 0,
        tokensUsed: 12,
        costUsd: '0.001200000',
        priceVersion: 0,
        ipAddress: t.http.address,
        userAgent: 'my backend/1.0',
        metadata: { path: '/api/v1/generate', method: 'POST', status_code: 200, end_user: 'end-user-7' },
        createdAt: expect.any(Date) as Date,
      },
    ]);
  });

  it('is written before the answer leaves: 200 at once, each found by the time its answer is read', async () => {
    const { id: userId } = await t.make.user({ tierOverride: 'starter' });
    const { key } = await t.make.apiKey({ userId, rateLimitPerMinute: 1_000 });
    await Promise.all(
      Array.from({ length: 200 }, async () => {
        const { status, body } = await generate(key);
        expect(status).toBe(200);
        expect(await t.db.existsBy(UsageLog, { id: body.request_id as string })).toBe(true);
      }),
    );
  });

  it('does not answer while the commit is held up', async () => {
    const { key, userId } = await t.make.apiKey();
    const blocker = t.db.dataSource.createQueryRunner();
    await blocker.startTransaction();
    await blocker.query('LOCK TABLE usage_logs IN ACCESS EXCLUSIVE MODE');
    let answered = false;
    const answer = generate(key).then((result) => {
      answered = true;
      return result;
    });
    const isWaiting = async (): Promise<boolean> => {
      const [row] = await t.db.query<{ waiting: boolean }[]>(
        `SELECT count(*) > 0 AS waiting FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO usage_logs%'`,
      );
      return row?.waiting === true;
    };
    while (!(await isWaiting()));
    expect(answered).toBe(false);
    await blocker.rollbackTransaction();
    await blocker.release();
    expect((await answer).status).toBe(200);
    expect(await linesOf(userId)).toHaveLength(1);
  });

  it('notes when the key was last used', async () => {
    const user = await t.make.user();
    const { key, id } = await t.make.apiKey({ userId: user.id });
    await generate(key);
    const list = await t.http.get('/auth/api-keys', { bearer: user.token });
    expect(list.body).toMatchObject([{ id, last_used: expect.any(String) as string }]);
  });

  it.each<[string, object, number]>([
    ['bad input', { prompt: '' }, 400],
    ['a provider that is not set up', { provider: 'gemini' }, 501],
    ['a provider that cannot be reached', { provider: 'openai' }, 502],
  ])('costs nothing after %s', async (_what, fields, status) => {
    const user = await t.make.user();
    const { key } = await t.make.apiKey({ userId: user.id });
    expect((await generate(key, fields)).status).toBe(status);
    expect(await linesOf(user.id)).toEqual([]);
    expect(await stats(user.token)).toMatchObject({ total_requests: 0, total_cost_usd: 0 });
  });

  it('writes no error into the log when a caller asks for a provider that is not set up', async () => {
    const { key } = await t.make.apiKey();
    const { headers } = await generate(key, { provider: 'gemini' });
    const requestId = headers.get('x-request-id') ?? '';
    const lines = t.logLines
      .filter((line) => line.includes(requestId))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([
      { level: 'info', code: 'provider_not_configured' },
      { level: 'info', msg: 'request', status: 501 },
    ]);
    expect(lines.filter((line) => 'err' in line)).toEqual([]);
  });

  it('answers 503 and stays alive when the ledger cannot be written', async () => {
    const { key, userId } = await t.make.apiKey();
    await t.db.query('ALTER TABLE usage_logs ADD CONSTRAINT refuse_all CHECK (false) NOT VALID');
    try {
      expect((await generate(key)).status).toBe(500);
    } finally {
      await t.db.query('ALTER TABLE usage_logs DROP CONSTRAINT refuse_all');
    }
    expect(await linesOf(userId)).toEqual([]);
    expect((await generate(key)).status).toBe(200);
  });

  describe('GET /auth/usage/stats', () => {
    it('starts at zero', async () => {
      const user = await t.make.user();
      expect(await stats(user.token)).toEqual({
        total_requests: 0,
        total_tokens: 0,
        total_cost_usd: 0,
        requests_today: 0,
        tokens_today: 0,
        cost_today_usd: 0,
      });
    });

    it('sums all keys of its owner, today apart from ever, and nobody else', async () => {
      const user = await t.make.user();
      const keys = [await t.make.apiKey({ userId: user.id }), await t.make.apiKey({ userId: user.id })];
      await generate((await t.make.apiKey()).key);
      for (const { key } of keys) await generate(key);
      expect(await stats(user.token)).toMatchObject({
        total_requests: 2,
        total_tokens: 24,
        total_cost_usd: 0.0024,
        requests_today: 2,
      });

      t.clock.advance(DAY_MS);
      const { token } = await t.make.user();
      expect(await stats(token)).toMatchObject({ total_requests: 0 });
      const later = await t.http
        .from()
        .post('/auth/login', { body: { email: user.email, password: 'correct horse battery' } });
      expect(await stats(later.body.access_token as string)).toEqual({
        total_requests: 2,
        total_tokens: 24,
        total_cost_usd: 0.0024,
        requests_today: 0,
        tokens_today: 0,
        cost_today_usd: 0,
      });
    });
  });
});
