import { startTestApp, type TestApp } from '../support/test-app';

const LISTED = 'https://app.example.com';

/** What a browser asks before it lets a page call, and what it reads of the answer. */
describe('cross-origin requests', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { ALLOWED_ORIGINS: `${LISTED},https://admin.example.com` } });
  });
  afterAll(() => t.close());

  const ask = (url: string, origin: string, method = 'OPTIONS'): Promise<Response> =>
    fetch(`${url}/api/v1/auth/login`, {
      method,
      headers: { origin, 'access-control-request-method': 'POST' },
    });
  const allowed = (answer: Response): string | null => answer.headers.get('access-control-allow-origin');

  it('are allowed from the origins of the list, by name, and without cookies', async () => {
    const preflight = await ask(t.url, LISTED);
    expect([preflight.status, allowed(preflight)]).toEqual([204, LISTED]);
    expect(preflight.headers.get('x-content-type-options')).toBe('nosniff');
    expect(preflight.headers.get('vary')).toMatch(/origin/i);
    expect(preflight.headers.get('access-control-allow-credentials')).toBeNull();
    // An error too: else a page could not read why.
    const refused = await ask(t.url, LISTED, 'POST');
    expect([refused.status, allowed(refused)]).toEqual([400, LISTED]);
  });

  it.each([
    'https://evil.example.com',
    'https://app.example.com.evil.com',
    'http://app.example.com',
    'https://app.example.com:444',
    'null',
  ])('are not allowed from %s', async (origin) => {
    expect(allowed(await ask(t.url, origin))).not.toBe(origin);
    expect(allowed(await ask(t.url, origin, 'POST'))).not.toBe(origin);
  });

  it('are allowed from nowhere by default', async () => {
    const closed = await startTestApp();
    expect(allowed(await ask(closed.url, LISTED))).toBeNull();
    await closed.close();
  });
});
