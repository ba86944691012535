import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildService, freePort, ServiceProcess, until } from '../system/support/service-process';

/** Connections at a time; set HOSTILE_SOCKETS for another number than the default. */
const sockets = Math.max(10, Number.parseInt(process.env['HOSTILE_SOCKETS'] ?? '300', 10));
const HEALTH_EVERY_MS = 50;
const LATE_HEAD_MS = 10_000;
const LATE_BODY_MS = 30_000;
/** What is late is looked for every second; the rest is for a busy machine. */
const TOLERANCE_MS = 4_000;
const PATIENCE_MS = LATE_BODY_MS + 4 * TOLERANCE_MS;

jest.setTimeout(4 * PATIENCE_MS);

const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-hostile-'));
let service: ServiceProcess;
let port: number;

beforeAll(async () => {
  chmodSync(directory, 0o755);
  buildService();
  port = await freePort();
  service = new ServiceProcess(directory, port);
  await service.start();
});
afterAll(async () => {
  await service.end();
  rmSync(directory, { recursive: true, force: true });
});

/** A connection that is as slow as its client likes, and when it was closed. */
class Client {
  private readonly openedAtMs = performance.now();
  private closedAtMs: number | undefined;
  received = '';
  private constructor(readonly socket: Socket) {
    socket.on('error', () => undefined);
    socket.once('close', () => (this.closedAtMs = performance.now()));
  }

  static async connect(first: string | Buffer, { reads = true } = {}): Promise<Client> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const client = new Client(socket);
    if (reads) socket.on('data', (chunk: Buffer) => (client.received += chunk.toString('latin1')));
    socket.write(first);
    return client;
  }

  get livedMs(): number | undefined {
    return this.closedAtMs === undefined ? undefined : this.closedAtMs - this.openedAtMs;
  }

  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.received)?.[1]);
  }
}

const head = (...lines: string[]): string =>
  ['POST /api/v1/auth/login HTTP/1.1', 'Host: a', 'Content-Type: application/json', ...lines].join('\r\n');

/** The slowest one in a hundred of `/health/live`, asked all the while. */
async function healthMeanwhile(work: () => Promise<void>): Promise<number> {
  const tookMs: number[] = [];
  const over = new AbortController();
  const asking = (async () => {
    while (!over.signal.aborted) {
      const startedMs = performance.now();
      const answer = await fetch(`${service.url}/health/live`);
      expect(answer.status).toBe(200);
      await answer.arrayBuffer();
      tookMs.push(performance.now() - startedMs);
      await sleep(HEALTH_EVERY_MS);
    }
  })();
  await work().finally(() => {
    over.abort();
  });
  await asking;
  return tookMs.sort((a, b) => a - b)[Math.floor(tookMs.length * 0.99)] ?? 0;
}

describe('R22: slow clients', () => {
  it(`are cut off, ${sockets} at once, while others are answered as ever`, async () => {
    const calmMs = await healthMeanwhile(() => sleep(2_000));
    const open = (first: string): Promise<Client[]> =>
      Promise.all(Array.from({ length: sockets / 2 }, () => Client.connect(first)));
    let heads: Client[] = [];
    let bodies: Client[] = [];
    const p99Ms = await healthMeanwhile(async () => {
      heads = await open('GET /health/live HTTP/1.1\r\nHost: a\r\n');
      bodies = await open(`${head('Content-Length: 100000')}\r\n\r\n`);
      const drip = setInterval(() => {
        for (const { socket } of heads) if (socket.writable) socket.write('x-slow: a\r\n');
        for (const { socket } of bodies) if (socket.writable) socket.write('a');
      }, 1_000);
      await until(() => [...heads, ...bodies].every(({ livedMs }) => livedMs !== undefined), PATIENCE_MS);
      clearInterval(drip);
    });
    const longest = (clients: Client[]): number =>
      Math.max(...clients.map(({ livedMs = Infinity }) => livedMs));
    expect(longest(heads)).toBeLessThan(LATE_HEAD_MS + TOLERANCE_MS);
    expect(longest(bodies)).toBeLessThan(LATE_BODY_MS + TOLERANCE_MS);
    expect(new Set([...heads, ...bodies].map(({ status }) => status))).toEqual(new Set([408]));
    process.stdout.write(
      `${sockets} slow clients: heads cut off after ${(longest(heads) / 1000).toFixed(1)} s at most, bodies after ${(longest(bodies) / 1000).toFixed(1)} s; p99 of /health/live meanwhile ${p99Ms.toFixed(1)} ms (calm ${calmMs.toFixed(1)} ms)\n`,
    );
    expect(p99Ms).toBeLessThan(Math.max(100, 5 * calmMs));
  });
});

describe('R23: bodies', () => {
  it('that say less than they send are read as far as they said, and the rest is no request', async () => {
    const lying = await Client.connect(`${head('Content-Length: 2')}\r\n\r\n{}${'a'.repeat(100_000)}`);
    await until(() => lying.livedMs !== undefined, PATIENCE_MS);
    // One for the rest, and one for the request itself unless the rest came first.
    expect(new Set(lying.received.match(/HTTP\/1\.1 \d{3}/g))).toEqual(new Set(['HTTP/1.1 400']));
  });
});
