import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CommonErrors } from './common/common.errors';
import { PROBLEM_TYPE, problemBody, toApiError } from './common/problem.filter';
import { newRequestId } from './common/request-id';
import { answerHeaders } from './common/security-headers';

const SOCKET_LINGER_MS = 2_000;

/** Answers a path that cannot be decoded or has too long a part: the router refuses it before any hook runs. */
export function answerUnroutable(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const problem = toApiError(error);
  void reply
    .headers({ ...answerHeaders, 'x-request-id': request.id, 'cache-control': 'no-store' })
    .status(problem.status)
    .header('content-type', PROBLEM_TYPE)
    .send(problemBody(problem, request.id));
}

/** Answers what Node could not parse as HTTP: broken or oversized heads, and clients that take too long. */
export function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const [status, phrase] = brokenRequests[error.code ?? ''] ?? [400, 'Bad Request'];
  const requestId = newRequestId();
  const body = problemBody(Object.assign(CommonErrors.malformedRequest(), { status }), requestId);
  // The other side may keep its half open: a socket that is only ended stays.
  setTimeout(() => socket.destroy(), SOCKET_LINGER_MS).unref();
  if (!socket.writable) return;
  const headers = {
    ...answerHeaders,
    'content-type': PROBLEM_TYPE,
    'content-length': Buffer.byteLength(body),
    'x-request-id': requestId,
    'cache-control': 'no-store',
    connection: 'close',
  };
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${phrase}\r\n${head.join('')}\r\n${body}`);
}

const brokenRequests: Readonly<Record<string, readonly [status: number, phrase: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
};
