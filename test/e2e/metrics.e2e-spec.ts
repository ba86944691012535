import { Http } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const TOKEN = 'a-token-for-the-metrics';

const read = (t: TestApp, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${t.url}/metrics`, { headers });

/** The value of the first sample that has all of the given labels. */
async function sample(t: TestApp, name: string, labels: Record<string, string> = {}): Promise<number> {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const lines = (await (await read(t)).text()).split('\n').filter((line) => /^\w/.test(line));
  const found = lines.find(
    (line) => line.split(/[ {]/)[0] === name && wanted.every((label) => line.includes(label)),
  );
  return Number(found?.split(' ').at(-1));
}

describe('metrics', () => {
  let t: TestApp;
  /** Past the balancer: what one process answers the others do not count. */
  let http: Http;
  beforeAll(async () => {
    t = await startTestApp();
    http = new Http(t.url);
  });
  afterAll(() => t.close());

  it('count requests by the template of their route, and never by what a client sent', async () => {
    const user = await t.make.user();
    const endpoint = '/api/v1/auth/sessions/:id';
    for (const id of [user.id, user.sessionId])
      await http.delete(`/auth/sessions/${id}`, { bearer: user.token });
    for (const path of ['/api/v1/nothing-a', '/api/v1/nothing-b']) await fetch(t.url + path);

    expect(await sample(t, 'api_requests_total', { endpoint, method: 'DELETE', status: '404' })).toBe(1);
    expect(await sample(t, 'api_requests_total', { endpoint, method: 'DELETE', status: '200' })).toBe(1);
    expect(await sample(t, 'api_request_duration_seconds_count', { endpoint, method: 'DELETE' })).toBe(2);
    const text = await (await read(t)).text();
    expect(text).not.toContain('nothing-');
    expect(text).not.toContain(user.id);
  });

  it('say how much was metered, and how many accounts and keys there are', async () => {
    const key = await t.make.apiKey();
    const before = await sample(t, 'usage_tokens_total');
    const answer = await http.post('/generate', {
      key: key.key,
      body: { user_id: 'u', prompt: 'one two three', provider: 'echo' },
    });
    const { total_tokens: tokens, cost_usd: cost } = answer.body.usage as Record<string, number>;

    expect(await sample(t, 'usage_tokens_total')).toBe(before + Number(tokens));
    expect(await sample(t, 'usage_cost_total')).toBeGreaterThanOrEqual(Number(cost));
    expect(await sample(t, 'active_users_total')).toBeGreaterThan(0);
    expect(await sample(t, 'api_keys_total')).toBeGreaterThanOrEqual(0);
    for (const name of ['usage_queue_lines', 'database_connections', 'password_hashes_waiting', 'draining'])
      expect(await sample(t, name)).toBeGreaterThanOrEqual(0);
  });

  it('are read in development by anybody, in the format that Prometheus asks for', async () => {
    const answer = await read(t);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
  });

  it('are read by nobody but the bearer of METRICS_TOKEN', async () => {
    const closed = await startTestApp({ settings: { METRICS_TOKEN: TOKEN } });
    try {
      for (const authorization of ['', 'Bearer wrong', `Bearer ${TOKEN}x`])
        expect((await read(closed, { authorization })).status).toBe(404);
      expect((await read(closed, { authorization: `Bearer ${TOKEN}` })).status).toBe(200);
    } finally {
      await closed.close();
    }
  });
});
