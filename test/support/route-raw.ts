import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import type { Answer } from './http';

/** What came back over a connection of its own, byte by byte as `raw`. */
export interface RawAnswer extends Answer {
  readonly raw: string;
  /** How many answers came; more than one to one request means that its end was read in two ways. */
  readonly count: number;
}

const TIMEOUT_MS = 10_000;

/**
 * Sends bytes exactly as they are over a new connection, and reads until the server closes it.
 * @throws Error when it is still open after ten seconds: send `Connection: close`.
 */
export async function exchangeBytes(url: string, bytes: string | Buffer): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const raw = await new Promise<string>((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(bytes));
    const finish = (): void => {
      resolve(Buffer.concat(chunks).toString());
    };
    socket.setTimeout(TIMEOUT_MS, () => {
      reject(
        new Error(
          `The server left the connection open; it had answered ${JSON.stringify(Buffer.concat(chunks).toString())}`,
        ),
      );
      socket.destroy();
    });
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('close', finish);
    // A reset after the answer is as good as an end.
    socket.on('error', finish);
  });
  return parseAnswer(raw);
}

function parseAnswer(raw: string): RawAnswer {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = new Headers(
    lines.map((line): [string, string] => [
      line.slice(0, line.indexOf(':')),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  const text = rest.join('\r\n\r\n');
  return {
    ...toAnswer(Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0), headers, text),
    raw,
    count: raw.match(/HTTP\/1\.[01] \d{3} [A-Z]/g)?.length ?? 0,
  };
}

function toAnswer(status: number, headers: Headers, text: string): Answer {
  const isJson = /json/.test(headers.get('content-type') ?? '');
  const isWhole = Number(headers.get('content-length')) === Buffer.byteLength(text);
  return { status, headers, text, body: isJson && isWhole && text ? JSON.parse(text) : undefined };
}

/** A request with its target and headers spelled as given, which no client library would send. */
export function sendSpelled(
  url: string,
  method: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): Promise<RawAnswer> {
  const lines = Object.entries({
    host: 'localhost',
    connection: 'close',
    ...(body && { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
    ...headers,
  });
  const head = [`${method} ${target} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`), '', ''];
  return exchangeBytes(url, Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), Buffer.from(body)]));
}

/**
 * Sends a body of so many bytes, with its length or in chunks, and goes on sending whatever comes back.
 * @throws Error when the connection breaks before an answer is there, so that a client would never see one.
 */
export async function sendLargeBody(
  url: string,
  method: string,
  path: string,
  { bytes, chunked, headers }: { bytes: number; chunked: boolean; headers: Record<string, string> },
): Promise<Answer> {
  const framing = chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': bytes };
  const outgoing = request(new URL(path, url), { method, agent: false, headers: { ...headers, ...framing } });
  const piece = Buffer.alloc(64 * 1024, '[');
  let left = bytes;
  const write = (): void => {
    while (left > 0) {
      const size = Math.min(left, piece.length);
      left -= size;
      if (!outgoing.write(piece.subarray(0, size))) return void outgoing.once('drain', write);
    }
    outgoing.end();
  };
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  write();
  const [incoming] = await answered;
  // What breaks after the answer began is no loss to the client.
  outgoing.on('error', () => undefined);
  const seen = new Headers(incoming.headers as Record<string, string>);
  return toAnswer(incoming.statusCode ?? 0, seen, await readText(incoming));
}
