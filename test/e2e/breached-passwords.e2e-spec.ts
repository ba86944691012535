import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const BREACHED = 'a passphrase of a breach';
const PADDING = 'a passphrase of no breach';

/** A range service that knows a few passwords, each with how often it was seen. */
class FakeRanges {
  /** What it was asked, each with its headers. */
  readonly asked: IncomingMessage[] = [];
  answer: (response: ServerResponse, text: string) => void = (response, text) => response.end(text);
  private readonly server: Server;

  constructor(private readonly counts: Readonly<Record<string, number>>) {
    this.server = createServer((request, response) => {
      this.asked.push(request);
      const prefix = request.url?.slice(-5) ?? '';
      const listed = Object.entries(this.counts).map(([password, count]) => [sha1(password), count] as const);
      const lines = [
        '0018A45C4D1DEF81644B54AB7F969B88D65:3',
        ...listed.flatMap(([digest, count]) =>
          digest.startsWith(prefix) ? [`${digest.slice(5)}:${count}`] : [],
        ),
      ];
      this.answer(response, lines.join('\r\n'));
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async start(): Promise<void> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex').toUpperCase();
}

describe('passwords known from breaches', () => {
  const ranges = new FakeRanges({ [BREACHED]: 42, [PADDING]: 0 });
  let t: TestApp;
  beforeAll(async () => {
    await ranges.start();
    t = await startTestApp({ settings: { BREACHED_PASSWORDS_URL: `http://127.0.0.1:${ranges.port}/` } });
  });
  beforeEach(() => {
    ranges.asked.length = 0;
    ranges.answer = (response, text) => response.end(text);
  });
  afterAll(async () => {
    await t.close();
    await ranges.stop();
  });

  const register = (password: string): Promise<Answer> =>
    t.http.from().post('/auth/register', { body: { email: t.make.email(), password } });
  const change = (bearer: string, password: string): Promise<Answer> =>
    t.http.post('/auth/password/change', {
      bearer,
      body: { current_password: PASSWORD, new_password: password },
    });
  const confirm = (token: string, password: string): Promise<Answer> =>
    t.http.post('/auth/password/reset/confirm', { body: { token, new_password: password } });

  it('are refused at sign-up, change and reset, with the reason; a reset token stays usable', async () => {
    const user = await t.make.user();
    await t.http.post('/auth/password/reset', { body: { email: user.email } });
    const token = /#token=([\w-]+)/.exec((await t.mails(user.email))[0]?.text ?? '')?.[1] ?? '';
    const answers = [
      await register(BREACHED),
      await change(user.token, BREACHED),
      await confirm(token, BREACHED),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(400);
      expect(answer.body).toMatchObject({
        code: 'weak_password',
        detail: expect.stringContaining('data breach') as string,
      });
    }
    expect((await confirm(token, PADDING)).status).toBe(200);
  });

  it('are asked for by five digits of their SHA-1, with padding, whose lines do not count', async () => {
    expect((await register(PADDING)).status).toBe(200);
    expect(ranges.asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
      `GET /range/${sha1(PADDING).slice(0, 5)}`,
    ]);
    expect(ranges.asked[0]?.headers['add-padding']).toBe('true');
  });

  it('are not asked for while rules of our own refuse a password, nor for a token that is none', async () => {
    expect((await register('password123')).body.code).toBe('weak_password');
    expect((await register('short')).status).toBe(400);
    expect((await confirm('x', BREACHED)).body.code).toBe('invalid_reset_token');
    expect(ranges.asked).toEqual([]);
  });

  it.each<[string, (response: ServerResponse, text: string) => void]>([
    ['is out of order', (response) => response.writeHead(503).end()],
    ['answers something else', (response) => response.end('<html>'.repeat(1_000))],
    ['breaks off', (response, text) => response.writeHead(200).write(text, () => response.destroy())],
    ['says nothing', () => undefined],
    ['stalls in the middle', (response, text) => response.writeHead(200).write(text)],
    [
      'sends us elsewhere',
      (response) => response.writeHead(302, { location: `http://127.0.0.1:${ranges.port}/elsewhere` }).end(),
    ],
  ])('stop nobody while the service %s', async (_what, answer) => {
    ranges.answer = answer;
    const startedAtMs = performance.now();
    expect((await register(BREACHED)).status).toBe(200);
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
    expect(ranges.asked).toHaveLength(1);
  });

  it('stop nobody while the service is not there, and the log says so without the password', async () => {
    const gone = new FakeRanges({});
    await gone.start();
    const { port } = gone;
    await gone.stop();
    const lone = await startTestApp({
      settings: { BREACHED_PASSWORDS_URL: `http://127.0.0.1:${port}` },
      databaseUrl: t.databaseUrl,
    });
    const body = { email: lone.make.email(), password: BREACHED };
    expect((await lone.http.post('/auth/register', { body })).status).toBe(200);
    const lines = lone.logLines.filter((line) => line.includes('breached passwords not asked'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain(BREACHED);
    expect(lines[0]).not.toContain(sha1(BREACHED).slice(0, 5));
    await lone.close();
  });
});
