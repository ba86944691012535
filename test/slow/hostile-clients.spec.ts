import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { buildService, freePort, ServiceProcess, until } from '../system/support/service-process';

/** Connections at a time; set HOSTILE_SOCKETS for another number than the default. */
const sockets = Math.max(10, Number.parseInt(process.env['HOSTILE_SOCKETS'] ?? '300', 10));
const MIB = 1024 * 1024;
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

async function residentMib(): Promise<number> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1]) / MIB;
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

describe('R23: bodies that are too large', () => {
  const endless = Buffer.alloc(64 * 1024, 'a');

  /** Sends without end, and says how much went out before the connection was closed. */
  async function flood(
    first: string,
    frame: (data: Buffer) => Buffer,
  ): Promise<{ status: number; mib: number }> {
    const client = await Client.connect(first);
    let sent = 0;
    const { socket } = client;
    while (!socket.destroyed && socket.writable && sent < 100 * MIB) {
      const chunk = frame(endless);
      sent += chunk.length;
      // Either way the answer is read while the body is sent.
      if (socket.write(chunk)) await immediate();
      else await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
    }
    socket.end();
    await until(() => client.livedMs !== undefined, PATIENCE_MS);
    return { status: client.status, mib: sent / MIB };
  }

  it('are refused with 413 before they are read, in little memory, whatever they say of their length', async () => {
    const chunked = (data: Buffer): Buffer =>
      Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]);
    const beforeMib = await residentMib();
    const results = [
      await flood(`${head(`Content-Length: ${100 * MIB}`)}\r\n\r\n`, (data) => data),
      await flood(`${head('Transfer-Encoding: chunked')}\r\n\r\n`, chunked),
    ];
    expect(results.map(({ status }) => status)).toEqual([413, 413]);
    // What is read and thrown away so that the client sees the answer, and what the system has buffered.
    for (const { mib } of results) expect(mib).toBeLessThan(20);

    const bomb = gzipSync(Buffer.alloc(100 * MIB, ' '));
    const bombed = await Client.connect(
      Buffer.concat([
        Buffer.from(
          `${head('Content-Encoding: gzip', `Content-Length: ${bomb.length}`, 'Connection: close')}\r\n\r\n`,
        ),
        bomb,
      ]),
    );
    await until(() => bombed.livedMs !== undefined, PATIENCE_MS);
    expect([400, 413, 415]).toContain(bombed.status);

    const grownMib = (await residentMib()) - beforeMib;
    process.stdout.write(
      `100 MiB by length and in chunks: 413 after ${results.map(({ mib }) => mib.toFixed(1)).join(' and ')} MiB sent; a gzip bomb: ${bombed.status}; memory grew by ${grownMib.toFixed(1)} MiB\n`,
    );
    expect(grownMib).toBeLessThan(40);
  });

  it('that say less than they send are read as far as they said, and the rest is no request', async () => {
    const lying = await Client.connect(`${head('Content-Length: 2')}\r\n\r\n{}${'a'.repeat(100_000)}`);
    await until(() => lying.livedMs !== undefined, PATIENCE_MS);
    // One for the rest, and one for the request itself unless the rest came first.
    expect(new Set(lying.received.match(/HTTP\/1\.1 \d{3}/g))).toEqual(new Set(['HTTP/1.1 400']));
  });
});
