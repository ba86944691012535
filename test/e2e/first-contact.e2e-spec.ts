import { startTestApp, type TestApp } from '../support/test-app';

/** What the service this one replaces promised its callers, line by line. */
describe('first contact', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('registers a user', async () => {
    const userData = {
      email: 'test@example.com',
      password: 'testpassword123',
      first_name: 'Test',
      last_name: 'User',
    };
    const response = await t.http.post('/api/v1/auth/register', { body: userData });
    expect(response.status).toBe(200);
    expect(response.body.email).toBe(userData.email);
    expect(response.body.is_verified).toBe(false);
  });

  it('creates an API key', async () => {
    const userData = { email: 'test@example.com', password: 'testpassword123' };
    // As in the test this follows, the address may be taken already.
    await t.http.post('/api/v1/auth/register', { body: userData });
    const login = await t.http.post('/api/v1/auth/login', { body: userData });
    const token: string = login.body.access_token;

    const keyData = { name: 'Test API Key', permissions: { read: true, write: false } };
    const response = await t.http.post('/api/v1/auth/api-keys', { body: keyData, bearer: token });
    expect(response.status).toBe(200);
    expect(response.body).toHaveProperty('api_key');
    expect(response.body.api_key_info.name).toBe('Test API Key');
  });

  it('takes the key for a metered call and shows what it cost', async () => {
    const owner = await t.make.user();
    const created = await t.http.post('/auth/api-keys', {
      body: { name: 'My API Key' },
      bearer: owner.token,
    });
    const call = { user_id: 'user123', prompt: 'Hello, how are you?', provider: 'echo' };
    const answer = await t.http.post('/generate', { body: call, key: created.body.api_key });
    expect(answer.status).toBe(200);

    const stats = await t.http.get('/auth/usage/stats', { bearer: owner.token });
    expect(stats.body).toMatchObject({
      total_requests: 1,
      total_tokens: answer.body.usage.total_tokens,
      total_cost_usd: answer.body.usage.cost_usd,
      requests_today: 1,
    });
    expect(stats.body.total_cost_usd).toBeGreaterThan(0);
  });
});
