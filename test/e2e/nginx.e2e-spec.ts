import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, until } from '../system/support/service-process';
import { startTestApp, type TestApp } from '../support/test-app';

const NGINX = process.env['NGINX_PROGRAM'] ?? 'nginx';
const hasNginx = spawnSync(NGINX, ['-v']).status === 0;
const READY_LIMIT_MS = 10_000;

/** The configuration of docs/gateway.md, in a real nginx, in front of a backend. */
(hasNginx ? describe : describe.skip)('behind nginx, a backend', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-nginx-'));
  const seen: IncomingHttpHeaders[] = [];
  let t: TestApp;
  let backend: Server;
  let nginx: ChildProcess;
  let url: string;

  beforeAll(async () => {
    t = await startTestApp();
    backend = createServer((request, response) => {
      seen.push(request.headers);
      request.resume().on('end', () => response.end(`${request.method ?? ''} ${request.url ?? ''}`));
    }).listen(0, '127.0.0.1');
    await once(backend, 'listening');
    const { port: backendPort } = backend.address() as { port: number };
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    chmodSync(directory, 0o755);
    writeFileSync(join(directory, 'nginx.conf'), configuration(port, new URL(t.url).port, backendPort));
    nginx = spawn(NGINX, ['-p', directory, '-c', join(directory, 'nginx.conf'), '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await until(async () => (await fetch(url).catch(() => null)) !== null, READY_LIMIT_MS);
  });
  afterAll(async () => {
    const ended = once(nginx, 'exit');
    nginx.kill('SIGTERM');
    await ended;
    backend.close();
    await t.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function configuration(port: number, servicePort: string, backendPort: number): string {
    const docs = readFileSync(join(__dirname, '../../docs/gateway.md'), 'utf8');
    const [, example = ''] = /```nginx\n([\s\S]*?)```/.exec(docs) ?? [];
    const placed = example
      .replace('127.0.0.1:8000', `127.0.0.1:${servicePort}`)
      .replace('127.0.0.1:9000', `127.0.0.1:${backendPort}`)
      .replace('127.0.0.1:8080', `127.0.0.1:${port}`);
    expect(placed).not.toMatch(/127\.0\.0\.1:(8000|9000|8080)\b/);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (kind) => `${kind}_temp_path ${directory}/${kind};`,
    );
    return `daemon off; pid ${directory}/pid; worker_processes 1; events {}
http { access_log off; ${temporary.join(' ')}
${placed}}`;
  }

  const send = (key: string | null, init: RequestInit = {}): Promise<Response> =>
    fetch(`${url}/memories?q=1`, {
      ...init,
      headers: { ...(key !== null && { 'x-api-key': key }), 'x-user-id': 'made up', 'x-plan': 'internal' },
    });

  it('gets an allowed request with who has the key, and without the key', async () => {
    const { key, id, userId } = await t.make.apiKey();
    const answer = await send(key, { method: 'POST', body: 'hello' });
    expect([answer.status, await answer.text()]).toEqual([200, 'POST /memories?q=1']);
    expect(seen.at(-1)).toMatchObject({ 'x-user-id': userId, 'x-api-key-id': id, 'x-plan': 'free' });
    expect(JSON.stringify(seen.at(-1))).not.toContain(key);
  });

  it('gets nothing of a request over the limit, which is answered with 429 and when to come back', async () => {
    const { key } = await t.make.apiKey({ rateLimitPerMinute: 2 });
    const before = seen.length;
    const answers = [await send(key), await send(key), await send(key)];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(Number(answers[2]?.headers.get('retry-after'))).toBeGreaterThan(50);
    expect(await answers[2]?.json()).toEqual({ code: 'rate_limited' });
    expect(seen.length).toBe(before + 2);
  });

  it('gets nothing of a request without a key, with a wrong one, or from an address that is not allowed', async () => {
    const before = seen.length;
    const elsewhere = await t.make.apiKey({ allowedIps: ['203.0.113.0/24'] });
    const here = await t.make.apiKey({ allowedIps: ['127.0.0.1'] });
    const answers = [await send(null), await send('garbage'), await send(elsewhere.key)];
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 403]);
    expect(answers[0]?.headers.get('www-authenticate')).toMatch(/^Bearer/);
    expect(seen.length).toBe(before);
    expect((await send(here.key)).status).toBe(200);
  });
});
