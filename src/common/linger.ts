import type { FastifyReply, FastifyRequest } from 'fastify';
import { answerHeaders } from './security-headers';

const LINGER_BYTES_MAX = 8 * 1024 * 1024;
const LINGER_MS_MAX = 2_000;

/**
 * Sends an answer while the client is still sending its body, then reads and throws away up to 8 MiB for at most
 * 2 s before closing: a connection closed with unread data is reset, and the client would never see the answer.
 */
export function answerAndLinger(
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  body: string,
): void {
  const { raw: incoming } = request;
  const { raw: outgoing } = reply;
  reply.hijack();
  outgoing.writeHead(status, {
    ...answerHeaders,
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  });
  outgoing.write(body);

  const finish = (): void => {
    clearTimeout(timer);
    incoming.removeAllListeners('data');
    incoming.pause();
    outgoing.end();
  };
  const timer = setTimeout(finish, LINGER_MS_MAX);
  let discarded = 0;
  incoming.on('data', (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > LINGER_BYTES_MAX) finish();
  });
  incoming.once('end', finish);
  incoming.once('close', finish);
  incoming.once('error', finish);
  incoming.resume();
}
