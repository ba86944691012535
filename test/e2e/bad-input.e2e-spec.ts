import type { Sent } from '../support/http';
import { checkAnswer } from '../support/openapi-checker';
import { bodyCase, bodyWith, faultsOf, isThorough, type RouteCase } from '../support/route-cases';
import {
  Callers,
  exampleBody,
  inBatches,
  pathOf,
  type Route,
  type RouteField,
  routesOf,
  storedState,
} from '../support/route-list';
import { exchangeBytes, sendLargeBody, sendSpelled } from '../support/route-raw';
import {
  addressSpellings,
  contentTypes,
  fieldValues,
  foreignFields,
  hostileStrings,
  madeUpBodies,
  pathTexts,
  queryTexts,
  rawBodies,
} from '../support/route-values';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

jest.setTimeout(isThorough ? 900_000 : 120_000);

/** Made-up bodies are the same in every run. */
const SEED = 20_261_122;
const MADE_UP_PER_ROUTE = 200;
const MADE_UP_MAX = isThorough ? 1_800 : 300;
/** Longer than the longest window of a limit that these requests fall under. */
const WINDOW_MS = 3_600_000;

/** Every third of a list, from another one on each time. */
function everyThird<T>(list: readonly T[], from: number): T[] {
  return list.filter((_item, i) => (i + from) % 3 === 0);
}

/** Whatever is sent to whichever route of the document: refused as documented, or taken as it is; never an error of ours. */
describe('bad input', () => {
  let t: TestApp;
  let routes: Route[];
  let callers: Callers;
  const faults = (cases: readonly RouteCase[]): Promise<string[]> => faultsOf(t, callers, cases);
  const withBody = (): Route[] => routes.filter(({ takesBody }) => takesBody);
  const fieldsIn = (where: RouteField['in']): (RouteField & { route: Route })[] =>
    routes.flatMap((route) =>
      route.fields.filter((field) => field.in === where).map((field) => ({ ...field, route })),
    );

  beforeAll(async () => {
    t = await startTestApp();
    routes = routesOf(t);
    expect(routes.length).toBeGreaterThan(12);
  });
  beforeEach(() => {
    t.clock.advance(WINDOW_MS);
    callers = new Callers(t);
  });
  afterEach(async () => {
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect((await t.http.get('/health')).status).toBe(200);
  });
  afterAll(() => t.close());

  it('is refused in every field of every body as the document says, and nothing of it is stored', async () => {
    // The first field of a name and type gets every value, each further one a third of them in turn.
    const seen = new Map<string, number>();
    const cases = fieldsIn('body').flatMap(({ route, name, schema }) => {
      const kind = `${name} ${schema.type} ${schema.format}`;
      const times = seen.get(kind) ?? 0;
      seen.set(kind, times + 1);
      const values = times === 0 ? fieldValues : everyThird(fieldValues, times);
      return [
        ...values.map((json) => bodyCase(route, name, bodyWith(t, route, name, json))),
        bodyCase(route, `without ${name}`, bodyWith(t, route, name)),
      ];
    });
    expect(cases.filter(({ mustRefuse }) => mustRefuse).length).toBeGreaterThan(500);
    expect(await faults(cases)).toEqual([]);
  });

  it('is refused as a field that the route does not know, whatever its name', async () => {
    const cases = withBody().flatMap((route) =>
      foreignFields
        .filter((name) => !route.fields.some((field) => field.name === name))
        .map((name) => bodyCase(route, `extra ${name}`, bodyWith(t, route, name, '{"polluted":true}'), true)),
    );
    expect(await faults(cases)).toEqual([]);
  });

  it('is taken as it is or refused when it is hostile text', async () => {
    const isPlain = ({ schema }: RouteField): boolean =>
      schema.type === 'string' && !schema.enum && !schema.format;
    const oneByOne = fieldsIn('body')
      .filter(({ schema }) => schema.type === 'string' && schema.format)
      .flatMap(({ route, name, schema }, n) =>
        everyThird(hostileStrings, n).map((text) => {
          const value = schema.format === 'email' ? `${text}@example.com` : text;
          return bodyCase(route, name, bodyWith(t, route, name, JSON.stringify(value)));
        }),
      );
    // Plain text fields are alike, so one request carries all of a route's.
    const together = withBody().flatMap((route, n) => {
      const plain = route.fields.filter((field) => field.in === 'body' && isPlain(field));
      const texts = n === 0 ? hostileStrings : everyThird(hostileStrings, n);
      return (plain.length > 0 ? texts : []).map((text) => {
        const hostile = Object.fromEntries(plain.map(({ name }) => [name, text]));
        return bodyCase(route, 'text', JSON.stringify({ ...exampleBody(route, t), ...hostile }));
      });
    });
    expect(await faults([...oneByOne, ...together])).toEqual([]);
  });

  it('T19: never makes mail go anywhere but to one plain address', async () => {
    const cases = fieldsIn('body')
      .filter(({ schema }) => schema.format === 'email')
      .flatMap(({ route, name }) =>
        addressSpellings.map((json) => bodyCase(route, name, bodyWith(t, route, name, json), true)),
      );
    const mailsSent = (): number => t.logLines.filter((line) => line.includes('"mail sent"')).length;
    const before = mailsSent();
    expect(await faults(cases)).toEqual([]);
    expect(mailsSent()).toBe(before);
  });

  it('is refused when it is no JSON object, however it is broken', async () => {
    const cases = withBody().flatMap((route) =>
      rawBodies.map(([what, raw]): RouteCase => ({
        route,
        what,
        sent: { raw, headers: { 'content-type': 'application/json' } },
        mustRefuse: true,
      })),
    );
    expect(await faults(cases)).toEqual([]);
  });

  it('is refused when it is no UTF-8, which would be stored as another text', async () => {
    const broken = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xe2, 0x82]];
    const cases = fieldsIn('body')
      .filter(({ schema }) => schema.type === 'string')
      .flatMap(({ route, name }) => {
        const [before = '', after = ''] = bodyWith(t, route, name, '"here"').split('here');
        return broken.map((bytes): RouteCase => ({
          route,
          what: `${name} ${Buffer.from(bytes).toString('hex')}`,
          sent: {
            raw: Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]),
            headers: { 'content-type': 'application/json' },
          },
          mustRefuse: true,
        }));
      });
    expect(await faults(cases)).toEqual([]);
  });

  it('is never taken unvalidated, whatever its content type', async () => {
    const raw = Buffer.from('{"unknown_field":{"polluted":true}}');
    const json = withBody().flatMap((route) =>
      contentTypes.map((type): RouteCase => ({
        route,
        what: `as "${type}"`,
        sent: { raw, headers: type ? { 'content-type': type } : {} },
        mustRefuse: true,
      })),
    );
    const forms = withBody().map((route): RouteCase => {
      const form = new URLSearchParams(
        Object.entries(exampleBody(route, t)).map(([name, value]): [string, string] => [name, String(value)]),
      );
      return {
        route,
        what: 'as a form',
        sent: { raw: form.toString(), headers: { 'content-type': 'application/x-www-form-urlencoded' } },
        mustRefuse: true,
      };
    });
    expect(await faults([...json, ...forms])).toEqual([]);
  });

  it('is ignored or refused by a route that takes no body', async () => {
    const cases = routes
      .filter(({ takesBody, method }) => !takesBody && method !== 'GET')
      .flatMap((route) =>
        contentTypes.map((type): RouteCase => ({
          route,
          what: `a body as "${type}"`,
          sent: { raw: Buffer.from('{"id":1}'), headers: type ? { 'content-type': type } : {} },
          mustRefuse: false,
        })),
      );
    expect(await faults(cases)).toEqual([]);
  });

  it('is none when it is empty, whatever type it is said to have', async () => {
    for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/plain', 'nonsense']) {
      const { id: userId, token: bearer } = await t.make.user();
      const { id } = await t.make.apiKey({ userId });
      const empty = { raw: '', headers: { 'content-type': type }, bearer };
      const answers = [
        await t.http.post(`/auth/api-keys/${id}/rotate`, empty),
        await t.http.delete(`/auth/api-keys/${id}`, empty),
        await t.http.post('/auth/logout', empty),
      ];
      expect([type, ...answers.map(({ status }) => status)]).toEqual([type, 200, 200, 200]);
      expect((await t.http.post('/auth/login', empty)).body).toMatchObject({
        code: 'validation_failed',
        errors: [
          { field: 'email', message: 'is required' },
          { field: 'password', message: 'is required' },
        ],
      });
    }
  });

  it('is none when it is sent in chunks of which there is none', async () => {
    const head = ['POST /api/v1/auth/login HTTP/1.1', 'Host: localhost', 'Connection: close'];
    const chunked = ['Content-Type: application/json', 'Transfer-Encoding: chunked', '', '0', '', ''];
    const { body } = await exchangeBytes(t.url, [...head, ...chunked].join('\r\n'));
    expect(body).toMatchObject({ code: 'validation_failed' });
  });

  it('is refused in words that say what each field lacks', async () => {
    const { token: bearer } = await t.make.user({ role: 'admin' });
    const errorsOf = async (method: string, path: string, body: object): Promise<unknown> =>
      ((await t.http.send(method, path, { bearer, body })).body as { errors: unknown }).errors;
    expect(await errorsOf('POST', '/auth/register', { email: 'new@example.com', role: 'admin' })).toEqual([
      { field: 'role', message: 'is not a field of this request' },
      { field: 'password', message: 'is required' },
    ]);
    expect(await errorsOf('POST', '/admin/api-keys/import', { keys: ['ctx'] })).toEqual([
      { field: 'keys', message: 'must be a list of objects' },
    ]);
    const imported = { email: 'new@example.com', name: 'a', key_hash: 'x', key_prefix: 'sk_live_a' };
    expect(await errorsOf('POST', '/admin/api-keys/import', { keys: [imported] })).toEqual([
      { field: 'keys.0.key_hash', message: 'must be a SHA-256, in hex or base64url' },
    ]);
  });

  it('is answered 413 when it has 10 MB, by its length or in chunks, and the client sees the answer', async () => {
    const targets = routes
      .filter(({ method }) => method !== 'GET')
      .map((route) => ({ ...route, path: pathOf(route) }));
    const headers = { 'content-type': 'application/json' };
    for (const [n, { method, path }] of [...targets, { method: 'POST', path: '/api/v1/nothing' }].entries()) {
      for (const chunked of isThorough ? [false, true] : [n % 2 === 0]) {
        const answer = await sendLargeBody(t.url, method, path, { bytes: 10_000_000, chunked, headers });
        const seen = { method, path, chunked, status: answer.status, code: answer.body?.code as unknown };
        expect(seen).toEqual({ method, path, chunked, status: 413, code: 'payload_too_large' });
        if (path !== '/api/v1/nothing') checkAnswer(method, path, answer);
      }
    }
  });

  it('finds nothing by a method that the document does not name', async () => {
    const others =
      'GET POST PUT PATCH DELETE OPTIONS PROPFIND PROPPATCH MKCOL COPY MOVE LOCK SEARCH REPORT PURGE QUERY';
    const unsendable = 'TRACE CONNECT get FOO GETS HEAD';
    // Proxies ask it with the method of the request that they are about to pass on.
    const anyMethod = '/api/v1/auth/forward';
    const paths = [...new Set(routes.map(({ path }) => path))].filter((path) => path !== anyMethod);
    const isKnown = (path: string, method: string): boolean =>
      routes.some(
        (route) =>
          route.path === path && (route.method === method || (method === 'HEAD' && route.method === 'GET')),
      );
    const requests = (methods: string): { method: string; path: string }[] =>
      paths.flatMap((path) =>
        methods
          .split(' ')
          .filter((method) => !isKnown(path, method))
          .map((method) => ({ method, path: pathOf({ path }) })),
      );
    const { bearer } = await callers.credential({ access: 'user' });
    const before = await storedState(t);

    const odd = await inBatches(requests(others), async ({ method, path }) => {
      const { status, body } = await t.http.from().send(method, path, { bearer });
      return { method, path, status, code: (body as { code?: string } | undefined)?.code };
    });
    expect(odd.length).toBeGreaterThan(100);
    // Fastify knows QUERY as a method with a body, and refuses it without one before it looks for a route.
    const isFound = ({ method, status, code }: (typeof odd)[number]): boolean =>
      !(status === 404 && code === 'route_not_found') && !(method === 'QUERY' && status === 400);
    expect(odd.filter(isFound)).toEqual([]);

    const raw = await inBatches(requests(unsendable), async ({ method, path }) => {
      const { status, raw: bytes } = await sendSpelled(t.url, method, path, { 'x-secret': 'reflected' });
      return { method, path, status, isReflected: bytes.includes('reflected') };
    });
    // Node closes the connection of a CONNECT without an answer.
    const isTaken = ({ method, status, isReflected }: (typeof raw)[number]): boolean =>
      isReflected || ![400, 404, 405, ...(method === 'CONNECT' ? [0] : [])].includes(status);
    expect(raw.filter(isTaken)).toEqual([]);
    expect(await storedState(t)).toEqual(before);
  });

  it('cannot name the method in a header', async () => {
    const pairs = routes.flatMap((route) =>
      ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'].map((header) => ({ route, header })),
    );
    const differing = await inBatches(pairs, async ({ route, header }) => {
      const other = route.method === 'GET' ? 'DELETE' : 'GET';
      // A caller for each: a log-out ends the session it comes with.
      const sent = async (): Promise<Sent> => ({
        ...(await callers.credential(route, true)),
        ...(route.takesBody && { body: {} }),
      });
      const plain = await t.http.from().send(route.method, pathOf(route), await sent());
      const same = await t.http
        .from()
        .send(route.method, pathOf(route), { ...(await sent()), headers: { [header]: other } });
      return plain.status === same.status ? [] : [`${route.name} with ${header}: ${same.status}`];
    });
    expect(differing.flat()).toEqual([]);
  });

  it('is refused as a query parameter given twice, as an array, unknown, too long or not storable', async () => {
    const queryCase = (route: Route, query: string, mustRefuse: boolean): RouteCase => ({
      route,
      what: query.slice(0, 80),
      path: `${pathOf(route)}?${query}`,
      sent: route.takesBody ? { body: {} } : {},
      mustRefuse,
    });
    const cases = fieldsIn('query').flatMap(({ route, name }) => [
      ...[
        `${name}=a&${name}=b`,
        `${name}[]=a`,
        `${name}[a]=b`,
        `${name}=%00`,
        `${name}=${'a'.repeat(2_000)}`,
        `${name}=a&unknown=b`,
        `${name}=a&__proto__[polluted]=true`,
        `${name}=a&constructor[prototype][polluted]=true`,
      ].map((query) => queryCase(route, query, true)),
      ...queryTexts.map((text) => queryCase(route, `${name}=${text}`, false)),
    ]);
    expect(await faults(cases)).toEqual([]);
  });

  itAlone('proxy')('finds nothing by a path parameter that names nothing', async () => {
    const cases = fieldsIn('path').flatMap(({ route, name }) =>
      pathTexts.map((text): RouteCase => ({
        route,
        what: `${name} ${text.slice(0, 80)}`,
        path: pathOf(route, { [name]: text }),
        sent: {},
        mustRefuse: true,
      })),
    );
    expect(await faults(cases)).toEqual([]);
  });

  it('is survived by every route in made-up bodies', async () => {
    const count = Math.min(MADE_UP_PER_ROUTE, Math.ceil(MADE_UP_MAX / withBody().length));
    const cases = withBody().flatMap((route) => {
      const example = exampleBody(route, t);
      return madeUpBodies(example, count, SEED).map((body) => {
        // An address of its own for each: some limits are per address.
        const named = ['email', 'new_email'].filter(
          (name) => body[name] !== undefined && body[name] === example[name],
        );
        const others = Object.fromEntries(named.map((name) => [name, t.make.email()]));
        return bodyCase(route, 'made up', JSON.stringify({ ...body, ...others }));
      });
    });
    expect(await faults(cases)).toEqual([]);
  });
});
