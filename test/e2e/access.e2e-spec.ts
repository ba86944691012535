import { v7 as uuidv7 } from 'uuid';
import { ApiKey } from '../../src/api-keys/api-key.entity';
import type { Answer, Sent } from '../support/http';
import { callerKinds, refusals, type Verdict } from '../support/route-callers';
import { evenly, isThorough } from '../support/route-cases';
import { exampleBody, inBatches, pathOf, type Route, routesOf, storedState } from '../support/route-list';
import { type RawAnswer, sendSpelled } from '../support/route-raw';
import {
  freshAddress,
  headerTricks,
  identityHeaders,
  madeUpCredentials,
  spellings,
} from '../support/route-spellings';
import { startTestApp, type TestApp } from '../support/test-app';

// Thousands of requests, on a machine that may have other work.
jest.setTimeout(180_000);

const SEED = 20_261_122;
/** Every spelling of every guarded path, and 2,000 made-up credentials, only where there is time for them. */
const SPELLED_MAX = isThorough ? Infinity : 600;
const MADE_UP = isThorough ? 2_000 : 500;

/** Every route of the document for every kind of caller, and every way around the guard that is known. */
describe('access', () => {
  let t: TestApp;
  let routes: Route[];
  const guarded = (): Route[] => routes.filter(({ access }) => access !== 'public');
  const bodyOf = (route: Route): Sent => (route.takesBody ? { body: exampleBody(route, t) } : {});
  const rawBodyOf = (route: Route): string => (route.takesBody ? JSON.stringify(exampleBody(route, t)) : '');

  beforeAll(async () => {
    t = await startTestApp();
    routes = routesOf(t);
    expect(guarded().length).toBeGreaterThan(6);
  });
  afterAll(() => t.close());

  function verdictOf({ body }: Answer): Verdict {
    const { code = '' } = (body ?? {}) as { code?: string };
    return Object.hasOwn(refusals, code) ? (code as Verdict) : 'in';
  }

  function wantedOf({ access, needsPermission }: Route, says: (typeof callerKinds)[number]['says']): Verdict {
    const wanted = access === 'public' ? 'in' : says[access];
    const needsNone = wanted === 'insufficient_permissions' && !needsPermission;
    return needsNone ? 'in' : wanted;
  }

  it.each(callerKinds)('lets $who call what is for him, and nothing else', async (kind) => {
    let cells = 0;
    for (const route of routes) {
      const sent = { ...(await kind.credential(t)), ...bodyOf(route) };
      const answer = await t.http.from().send(route.method, pathOf(route), sent);
      const verdict = verdictOf(answer);
      expect({ route: route.name, verdict }).toEqual({
        route: route.name,
        verdict: wantedOf(route, kind.says),
      });
      // What needs something that is not configured says so, behind the guard.
      const mayFail = String(answer.body?.code).endsWith('_not_configured');
      if (verdict === 'in') expect(answer.status).toBeLessThan(mayFail ? 504 : 500);
      else expect(answer.status).toBe(refusals[verdict]);
      if (answer.status === 401) expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer /);
      cells += 1;
    }
    expect(cells).toBe(routes.length);
  });

  it('tells a credential that is refused from one that is missing (RFC 6750, 3.1)', async () => {
    const challengeOf = async (path: string, sent?: Sent): Promise<string | null> => {
      const { status, headers } = await t.http.from().get(path, sent);
      expect(status).toBe(401);
      return headers.get('www-authenticate');
    };
    const { key } = await t.make.apiKey({ isActive: false });
    const refused = 'Bearer realm="cortex-auth", error="invalid_token"';
    expect(await challengeOf('/auth/me')).toBe('Bearer realm="cortex-auth"');
    expect(await challengeOf('/auth/me', { bearer: 'nobodys' })).toBe(refused);
    expect(await challengeOf('/auth/validate', { key: 'nobodys' })).toBe(refused);
    expect(await challengeOf('/auth/validate', { bearer: key })).toBe(refused);
  });

  it('answers whoever may read what he asks for', async () => {
    const reads = guarded().filter(({ method, path }) => method === 'GET' && !path.includes('{'));
    expect(reads.length).toBeGreaterThan(2);
    for (const { access, path, fields } of reads) {
      const kind = callerKinds.find(({ says }) => access !== 'public' && says[access] === 'in');
      const asked = fields.filter((field) => field.in === 'query' && field.required);
      const query = asked.map(({ name, schema }) => `${name}=${String(schema.example)}`).join('&');
      const { status } = await t.http.get(`${path}?${query}`, await kind?.credential(t));
      expect({ path, isGiven: [200, 204].includes(status) }).toEqual({ path, isGiven: true });
    }
  });

  /** Whether an answer can come from nowhere but the guard, or from before it. */
  function isStopped({ status, headers, body, count }: RawAnswer, method: string): boolean {
    if (count !== 1) return false;
    if (method === 'HEAD') return [400, 401, 404, 405, 414].includes(status);
    const { code = '' } = (body ?? {}) as { code?: string };
    return (
      headers.get('content-type')?.startsWith('application/problem+json') === true &&
      ['authentication_required', 'route_not_found', 'malformed_request', 'uri_too_long'].includes(code)
    );
  }

  it('T26: reaches no handler without a credential, however the path is spelled, nor by HEAD', async () => {
    const requests = guarded().flatMap((route) =>
      [route.method, 'HEAD'].flatMap((method) => {
        const path = pathOf(route);
        // Only what answers GET answers HEAD.
        const isAnswered = method === route.method || route.method === 'GET';
        return [path, ...(isAnswered ? spellings(path) : [])].map((target) => ({ route, method, target }));
      }),
    );
    expect(requests.length).toBeGreaterThan(500);
    const before = await storedState(t);
    const sent = evenly(requests, SPELLED_MAX);
    const reached = await inBatches(sent, async ({ route, method, target }) => {
      const body = method === 'HEAD' ? '' : rawBodyOf(route);
      const answer = await sendSpelled(t.url, method, target, freshAddress(), body);
      return isStopped(answer, method)
        ? []
        : [`${method} ${target} answered ${answer.status} ${answer.text.slice(0, 150)}`];
    });
    expect(reached.flat()).toEqual([]);
    expect(await storedState(t)).toEqual(before);
  });

  it('T26: reaches no handler without a credential, whatever a header says about the path, the method or the address', async () => {
    const requests = guarded().flatMap((route) => headerTricks.map((headers) => ({ route, headers })));
    const reached = await inBatches(requests, async ({ route, headers }) => {
      const answer = await sendSpelled(
        t.url,
        route.method,
        pathOf(route),
        { ...freshAddress(), ...headers },
        rawBodyOf(route),
      );
      return answer.status === 401
        ? []
        : [`${route.name} with ${JSON.stringify(headers)} answered ${answer.status}`];
    });
    expect(reached.flat()).toEqual([]);
    const guardedPath = '/api/v1/auth/me';
    const elsewhere = { 'x-original-url': guardedPath, 'x-rewrite-url': guardedPath };
    expect((await sendSpelled(t.url, 'GET', '/health/live', elsewhere)).body).toEqual({ status: 'alive' });
  });

  it('T1: takes nobody for a user because a field, a parameter or a header names one', async () => {
    const victim = await t.make.user();
    const before = await storedState(t);
    const query = `?user_id=${victim.id}&userId=${victim.id}&user=${victim.id}&sub=${victim.id}`;
    const answers = await inBatches(guarded(), async (route) => {
      const body = { ...exampleBody(route, t), user_id: victim.id, userId: victim.id };
      const { status, body: problem } = await t.http.from().send(route.method, pathOf(route) + query, {
        headers: identityHeaders(victim.id),
        ...(route.takesBody && { body }),
      });
      return { route: route.name, status, code: (problem as { code: string }).code };
    });
    expect(
      answers.filter(({ status, code }) => status !== 401 || code !== 'authentication_required'),
    ).toEqual([]);
    expect(await storedState(t)).toEqual(before);
  });

  /** What a caller has left of his limits becomes less with each call. */
  const withoutCounts = (body: unknown): unknown =>
    JSON.parse(
      JSON.stringify(body, (name, value: unknown) =>
        ['remaining', 'reset_seconds', 'exported_at'].includes(name) ? typeof value : value,
      ),
    );

  it('answers a caller about himself, whoever else is named', async () => {
    const victim = await t.make.user({ firstName: 'Victim' });
    await t.make.apiKey({ userId: victim.id });
    const caller = await t.make.user();
    const reads = guarded().filter(
      ({ method, access, path }) => method === 'GET' && access === 'user' && !path.includes('{'),
    );
    expect(reads.length).toBeGreaterThan(2);
    for (const { path } of reads) {
      const plain = await t.http.get(path, { bearer: caller.token });
      const named = await t.http.get(`${path}?user_id=${victim.id}&userId=${victim.id}`, {
        bearer: caller.token,
        headers: identityHeaders(victim.id),
      });
      if (named.status !== 400)
        expect({ path, body: withoutCounts(named.body) }).toEqual({ path, body: withoutCounts(plain.body) });
    }
    await t.http.put('/auth/me', {
      bearer: caller.token,
      body: { first_name: 'Mallory', user_id: victim.id },
    });
    await t.http.put(`/auth/me?user_id=${victim.id}`, {
      bearer: caller.token,
      body: { first_name: 'Mallory' },
      headers: identityHeaders(victim.id),
    });
    expect((await t.http.get('/auth/me', { bearer: victim.token })).body.first_name).toBe('Victim');
  });

  it('charges the owner of the key, whoever the call says it is for', async () => {
    const victim = await t.make.user();
    const owner = await t.make.user();
    const { key } = await t.make.apiKey({ userId: owner.id });
    const call = { user_id: victim.id, prompt: 'Hello', provider: 'echo' };
    const answer = await t.http.post('/generate', { key, body: call, headers: identityHeaders(victim.id) });
    expect(answer.status).toBe(200);
    expect((await t.http.get('/auth/usage/stats', { bearer: victim.token })).body.total_requests).toBe(0);
    expect((await t.http.get('/auth/usage/stats', { bearer: owner.token })).body.total_requests).toBe(1);
  });

  /** How to make something of a user's that a path names; a new kind of resource gets its line here. */
  const resources: Readonly<Record<string, (userId: string) => Promise<{ id: string }>>> = {
    '/api/v1/auth/api-keys/{id}': (userId) => t.make.apiKey({ userId }),
    '/api/v1/auth/sessions/{id}': async (userId) => ({ id: (await t.make.session(userId)).sessionId }),
  };

  it("T25: answers for another user's resource exactly as for one that does not exist, and leaves it as it is", async () => {
    const own = guarded().filter(({ path, access }) => path.includes('{') && access === 'user');
    expect(own.length).toBeGreaterThan(0);
    expect(
      own
        .filter(({ path }) => !Object.keys(resources).some((known) => path.startsWith(known)))
        .map(({ name }) => name),
    ).toEqual([]);
    for (const route of own) {
      const make = Object.entries(resources).find(([known]) => route.path.startsWith(known))?.[1];
      const owner = await t.make.user();
      const { id = '' } = (await make?.(owner.id)) ?? {};
      const [first, second] = [await t.make.user(), await t.make.user()];
      const before = await storedState(t);
      const foreign = await t.http
        .from()
        .send(route.method, pathOf(route, { id }), { bearer: first.token, ...bodyOf(route) });
      const missing = await t.http
        .from()
        .send(route.method, pathOf(route, { id: uuidv7() }), { bearer: second.token, ...bodyOf(route) });

      const shown = ({ status, text, headers }: Answer): unknown => {
        const kept = [...headers].filter(([name]) => !['date', 'x-request-id'].includes(name));
        return { route: route.name, status, kept, text: text.replace(headers.get('x-request-id') ?? '', '') };
      };
      expect(missing.status).toBe(404);
      expect(shown(foreign)).toEqual(shown(missing));
      expect(await storedState(t)).toEqual(before);
    }
  });

  it("leaves another user's key working when he tries to deactivate it", async () => {
    const { id, key } = await t.make.apiKey();
    const stranger = await t.make.user();
    await t.http.delete(`/auth/api-keys/${id}`, { bearer: stranger.token });
    expect((await t.db.findOneByOrFail(ApiKey, { id })).isActive).toBe(true);
    expect(
      (await t.http.post('/generate', { key, body: { user_id: 'a', prompt: 'Hello', provider: 'echo' } }))
        .status,
    ).toBe(200);
  });

  it('T31: answers 401 to made-up credentials', async () => {
    const [{ token }, { key }] = [await t.make.user(), await t.make.apiKey()];
    const values = madeUpCredentials(token, key, MADE_UP, SEED);
    const wrong = await inBatches(values, async ([name, value]) => {
      const { status, text: body } = await sendSpelled(t.url, 'GET', '/api/v1/auth/me', {
        ...freshAddress(),
        [name]: value,
      });
      return status === 401
        ? []
        : [`${name}: ${JSON.stringify(value).slice(0, 200)} answered ${status} ${body.slice(0, 150)}`];
    });
    expect(wrong.flat()).toEqual([]);
    expect((await t.http.get('/auth/me', { bearer: token })).status).toBe(200);
  });
});
