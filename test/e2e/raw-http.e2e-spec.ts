import { gzipSync } from 'node:zlib';
import { exchangeBytes, type RawAnswer, sendSpelled } from '../support/route-raw';
import { freshAddress } from '../support/route-spellings';
import { startTestApp, type TestApp } from '../support/test-app';

/** What no client library sends: requests that are broken as HTTP, or read by two programs in two ways. */
describe('raw HTTP', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(async () => {
    expect((await t.http.get('/health')).status).toBe(200);
  });
  afterAll(() => t.close());

  const send = (...lines: string[]): Promise<RawAnswer> =>
    exchangeBytes(t.url, Buffer.from(lines.join('\r\n'), 'latin1'));
  const problem = (status: number): object => ({
    status,
    count: 1,
    body: expect.objectContaining({
      status,
      code: expect.any(String) as unknown,
      request_id: expect.any(String) as unknown,
    }) as unknown,
  });
  const typeOf = ({ headers }: RawAnswer): string => headers.get('content-type') ?? '';

  const SMUGGLED = ['GET /health/live HTTP/1.1', 'Host: localhost', '', ''].join('\r\n');
  const framings: [what: string, headers: string[], body: string][] = [
    ['a length and chunks', ['Content-Length: 5', 'Transfer-Encoding: chunked'], `0\r\n\r\n${SMUGGLED}`],
    ['chunks and a length', ['Transfer-Encoding: chunked', 'Content-Length: 5'], `0\r\n\r\n${SMUGGLED}`],
    ['two lengths', ['Content-Length: 0', `Content-Length: ${SMUGGLED.length}`], SMUGGLED],
    ['one length twice', ['Content-Length: 2', 'Content-Length: 2'], `{}${SMUGGLED}`],
    ['a list of lengths', ['Content-Length: 2, 2'], `{}${SMUGGLED}`],
    ['a signed length', ['Content-Length: +2'], `{}${SMUGGLED}`],
    ['a negative length', ['Content-Length: -2'], `{}${SMUGGLED}`],
    ['a hexadecimal length', ['Content-Length: 0x2'], `{}${SMUGGLED}`],
    ['a length beyond all numbers', [`Content-Length: ${'9'.repeat(40)}`], `{}${SMUGGLED}`],
    [
      'chunks and no chunks',
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
      `2\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'chunks within another coding',
      ['Transfer-Encoding: chunked, identity'],
      `2\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['an unknown coding', ['Transfer-Encoding: xchunked'], `2\r\n{}\r\n0\r\n\r\n${SMUGGLED}`],
    [
      'a coding with a space before it',
      [' Transfer-Encoding: chunked', 'Content-Length: 2'],
      `{}${SMUGGLED}`,
    ],
    [
      'a header with a space before its colon',
      ['Transfer-Encoding : chunked'],
      `2\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['a folded header', ['Transfer-Encoding:', ' chunked', 'Content-Length: 2'], `{}${SMUGGLED}`],
    [
      'a bare line feed in a header',
      ['X: a\nTransfer-Encoding: chunked', 'Content-Length: 2'],
      `{}${SMUGGLED}`,
    ],
    ['a signed chunk', ['Transfer-Encoding: chunked'], `+2\r\n{}\r\n0\r\n\r\n${SMUGGLED}`],
    ['a chunk in 0x', ['Transfer-Encoding: chunked'], `0x2\r\n{}\r\n0\r\n\r\n${SMUGGLED}`],
    [
      'a chunk beyond all numbers',
      ['Transfer-Encoding: chunked'],
      `${'f'.repeat(20)}\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'a chunk that ends in the wrong place',
      ['Transfer-Encoding: chunked'],
      `1\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'a chunk extension with a line feed',
      ['Transfer-Encoding: chunked'],
      `2;\nx\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
    ],
  ];

  it.each(framings)(
    'refuses %s, and takes nothing behind for a second request',
    async (_what, headers, body) => {
      const answer = await send(
        'POST /api/v1/auth/login HTTP/1.1',
        'Host: localhost',
        'Content-Type: application/json',
        ...headers,
        '',
        body,
      );
      expect(answer).toMatchObject(problem(400));
      expect(typeOf(answer)).toMatch(/^application\/problem\+json/);
      expect(answer.raw).not.toContain('alive');
    },
  );

  it.each([
    ['no version', ['GET /health/live', '', '']],
    ['HTTP/0.9', ['GET /health/live HTTP/0.9', 'Host: localhost', '', '']],
    ['HTTP/9.9', ['GET /health/live HTTP/9.9', 'Host: localhost', '', '']],
    ['the beginning of HTTP/2', ['PRI * HTTP/2.0', '', 'SM', '', '']],
    ['the beginning of TLS', ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', '', '']],
    ['noise', ['\x00\xff\xfe noise', '', '']],
    ['a NUL in the path', ['GET /health/live\0 HTTP/1.1', 'Host: localhost', '', '']],
    ['a NUL in a header', ['GET /health/live HTTP/1.1', 'Host: localhost', 'User-Agent: a\0b', '', '']],
    [
      'a control character in a header',
      ['GET /health/live HTTP/1.1', 'Host: localhost', 'User-Agent: \x1b[31m', '', ''],
    ],
    [
      'a bare carriage return in a header',
      ['GET /health/live HTTP/1.1', 'Host: localhost', 'User-Agent: a\rX: b', '', ''],
    ],
    ['a header without a name', ['GET /health/live HTTP/1.1', 'Host: localhost', ': a', '', '']],
    ['no host', ['GET /health/live HTTP/1.1', 'Connection: close', '', '']],
    ['two hosts', ['GET /health/live HTTP/1.1', 'Host: a', 'Host: b', 'Connection: close', '', '']],
    ['a path without a slash', ['GET health/live HTTP/1.1', 'Host: localhost', '', '']],
    ['a space in the path', ['GET /health/live x HTTP/1.1', 'Host: localhost', '', '']],
  ])('answers 400 as a problem to %s', async (_what, lines) => {
    const answer = await send(...lines);
    expect(answer).toMatchObject(problem(400));
    expect(typeOf(answer)).toMatch(/^application\/problem\+json/);
  });

  it.each([
    ['a header of 20 KB', { 'x-large': 'a'.repeat(20_000) }, '/health/live'],
    [
      '1,000 headers',
      Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`x-header-${i}`, 'value'])),
      '/health/live',
    ],
    ['a path of 1 MB', {}, `/${'a'.repeat(1_000_000)}`],
    [
      '10,000 query parameters',
      {},
      `/health/live?${Array.from({ length: 10_000 }, (_, i) => `p${i}=1`).join('&')}`,
    ],
  ])('answers 431 as a problem to %s', async (_what, headers, target) => {
    const answer = await sendSpelled(t.url, 'GET', target, headers);
    expect(answer).toMatchObject(problem(431));
    expect(typeOf(answer)).toMatch(/^application\/problem\+json/);
  });

  it.each([
    ['half an escape', '/health/%', [400]],
    ['no escape at all', '/api/v1/auth/%zz', [400]],
    ['an escaped byte of no encoding', '/api/v1/auth/me%ff', [400]],
    ['an overlong slash', '/health/..%c0%afapi', [400]],
    ['a parameter with half an escape', '/api/v1/auth/api-keys/%', [400]],
    ['an escaped NUL', '/health/live%00', [400, 404]],
    ['an escaped line break', '/health/live%0d%0aSet-Cookie:%20a=b', [400, 404]],
    ['a parameter of 257 characters', `/api/v1/auth/api-keys/${'a'.repeat(257)}`, [400, 404, 414]],
    ['a path of 10 KB', `/api/v1/${'a'.repeat(10_000)}`, [404, 414]],
    ['1,000 segments', `/api/v1${'/a'.repeat(1_000)}`, [404, 414]],
    ['3,000 query parameters', `/api/v1/nothing?${'a=1&'.repeat(3_000)}`, [404]],
  ])('answers a problem, and the path nowhere, to %s', async (_what, target, statuses) => {
    for (const method of ['GET', 'DELETE', 'POST']) {
      const answer = await sendSpelled(t.url, method, target, freshAddress());
      expect(statuses).toContain(answer.status);
      expect(answer).toMatchObject(problem(answer.status));
      expect(typeOf(answer)).toMatch(/^application\/problem\+json/);
      expect(answer.headers.get('set-cookie')).toBeNull();
      expect(answer.text).not.toContain(target.slice(0, 60));
    }
  });

  it('takes no compressed body', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000, ' '));
    for (const encoding of ['gzip', 'deflate', 'br', 'identity, gzip']) {
      const head = [
        'POST /api/v1/auth/login HTTP/1.1',
        'Host: localhost',
        'Connection: close',
        'Content-Type: application/json',
        `Content-Encoding: ${encoding}`,
        `Content-Length: ${bomb.length}`,
        '',
        '',
      ];
      const answer = await exchangeBytes(t.url, Buffer.concat([Buffer.from(head.join('\r\n')), bomb]));
      expect([400, 415]).toContain(answer.status);
      expect(typeOf(answer)).toMatch(/^application\/problem\+json/);
    }
  });

  it('answers requests in one packet one by one', async () => {
    const live = ['GET /health/live HTTP/1.1', 'Host: localhost', '', ''].join('\r\n');
    const last = ['GET / HTTP/1.1', 'Host: localhost', 'Connection: close', '', ''].join('\r\n');
    const { count, raw } = await send(live + live + last);
    expect(count).toBe(3);
    expect(raw.match(/"alive"/g)).toHaveLength(2);
  });

  it('sends headers of protection with every answer, also with one to a broken request', async () => {
    const answers = [
      await sendSpelled(t.url, 'GET', '/health/live'),
      await sendSpelled(t.url, 'GET', '/health/%'),
      await sendSpelled(t.url, 'GET', '/api/v1/auth/me'),
      await sendSpelled(t.url, 'GET', '/nothing'),
      await sendSpelled(t.url, 'GET', '*health'),
      // Answered before its body has come.
      await sendSpelled(t.url, 'POST', '*health', { 'content-length': '10' }),
      await sendSpelled(t.url, 'POST', '/api/v1/auth/login', {}, `"${'a'.repeat(200_000)}"`),
      await sendSpelled(t.url, 'GET', '/health', { 'x-large': 'a'.repeat(20_000) }),
      await send('noise', '', ''),
    ];
    const wanted =
      'x-content-type-options referrer-policy strict-transport-security content-security-policy x-frame-options x-request-id';
    const missing = answers.map(({ status, headers }) => ({
      status,
      missing: wanted.split(' ').filter((name) => !headers.has(name)),
      telling: ['server', 'x-powered-by'].filter((name) => headers.has(name)),
    }));
    expect(missing).toEqual(
      [200, 400, 401, 404, 404, 404, 413, 431, 400].map((status) => ({ status, missing: [], telling: [] })),
    );
  });

  it('tells browsers how to treat its pages, and says nothing of pages elsewhere', async () => {
    const ofPages = [
      'cross-origin-opener-policy',
      'origin-agent-cluster',
      'x-dns-prefetch-control',
      'x-permitted-cross-domain-policies',
    ];
    const told = async (path: string): Promise<unknown> => {
      const { headers } = await sendSpelled(t.url, 'GET', path);
      return [ofPages.filter((name) => headers.has(name)), headers.get('content-security-policy')];
    };
    const nothing = "default-src 'none';frame-ancestors 'none'";
    expect(await told('/docs')).toEqual([ofPages, expect.stringContaining("default-src 'self'")]);
    expect(await told('/verify-email')).toEqual([ofPages, expect.stringContaining("script-src 'sha256-")]);
    expect(await told('/docs/')).toEqual(await told('/docs'));
    expect(await told('/health')).toEqual([[], nothing]);
    expect(await told('/api/v1/auth/me')).toEqual([[], nothing]);
  });

  it('writes one line a request into the log, whatever stands in it', async () => {
    const hostile = [
      '\u001b[31mred',
      'a\r\n{"level":"fatal","msg":"forged"}',
      'a\n',
      'a\u2028b\u2029c\u0085d',
      '\u202egnp.exe',
      '","msg":"forged',
      '\\", "msg": "forged',
    ];
    const [firstLine, sent] = [t.logLines.length, { count: 0 }];
    for (const text of hostile) {
      const agent = Buffer.from(text.replace(/[^ -\uffff]/g, ' ')).toString('latin1');
      const body = JSON.stringify({ email: `${text}@example.com`, password: text });
      await sendSpelled(
        t.url,
        'POST',
        '/api/v1/auth/login',
        { ...freshAddress(), 'user-agent': agent },
        body,
      );
      await sendSpelled(t.url, 'GET', `/health/${encodeURIComponent(text)}?q=${encodeURIComponent(text)}`, {
        ...freshAddress(),
        'user-agent': agent,
        authorization: agent,
      });
      sent.count += 2;
    }
    const lines = t.logLines.slice(firstLine);
    const parsed = lines.map(
      (line) => JSON.parse(line) as { level: string; msg: string; request_id: string },
    );
    expect(parsed.filter(({ msg }) => msg === 'request')).toHaveLength(sent.count);
    expect(new Set(parsed.map(({ request_id: id }) => id)).size).toBe(sent.count);
    expect(parsed.filter(({ level }) => level === 'fatal')).toEqual([]);
    // eslint-disable-next-line no-control-regex -- these are what is looked for
    expect(lines.filter((line) => /[\u0000-\u001f\u007f]/.test(line))).toEqual([]);
  });

  it('writes a line also for a request whose path cannot be read', async () => {
    const paths = ['/api/v1/auth/%ff', '/health/%', `/api/v1/auth/api-keys/${'a'.repeat(300)}`];
    const firstLine = t.logLines.length;
    for (const path of paths) await sendSpelled(t.url, 'DELETE', path, freshAddress());
    expect(t.logLines.slice(firstLine).filter((line) => line.includes('"request"'))).toHaveLength(
      paths.length,
    );
  });
});
