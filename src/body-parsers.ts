import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { CLOUD_EVENT, CLOUD_EVENTS } from './common/body-limit';
import { CommonErrors } from './common/common.errors';

/**
 * Bodies are JSON in UTF-8 and, but on a route that takes CloudEvents, nothing else. Bytes that are not would be stored
 * as another text than was sent. An empty body is none, whatever type it is said to have.
 */
export function setUpBodies(fastify: FastifyInstance): void {
  const parseJson = fastify.getDefaultJsonParser('error', 'error');
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    const { rawBody } = request.routeOptions.config as { rawBody?: boolean };
    if (rawBody) done(null, body);
    // Sent in chunks, of which there was none.
    else if (body.length === 0) done(null, undefined);
    else if (isUtf8(body)) void parseJson(request, body.toString('utf8'), done);
    else done(CommonErrors.malformedRequest());
  });
  for (const type of [CLOUD_EVENT, CLOUD_EVENTS]) {
    fastify.addContentTypeParser(type, { parseAs: 'buffer' }, (request, body, done) => {
      const { mediaTypes = [] } = request.routeOptions.config as { mediaTypes?: readonly string[] };
      if (mediaTypes.includes(type)) done(null, body);
      else done(CommonErrors.unsupportedMediaType());
    });
  }
  fastify.addHook('onRequest', (request, _reply, done) => {
    const { headers } = request.raw;
    if (headers['content-type'] !== undefined && isEmpty(request)) {
      const { rawBody } = request.routeOptions.config as { rawBody?: boolean };
      if (!rawBody) headers['content-type'] = undefined;
    }
    done();
  });
  fastify.addHook('onRoute', (route) => {
    const { headersOnly } = (route.config ?? {}) as { headersOnly?: boolean };
    if (!headersOnly) return;
    // HEAD has a route of its own, which Fastify makes.
    if (route.method === 'GET') route.method = fastify.supportedMethods.filter((name) => name !== 'HEAD');
    route.preParsing = (request, _reply, payload, done) => {
      forgetBody(request);
      done(null, payload);
    };
  });
}

function isEmpty({ raw: { headers } }: FastifyRequest): boolean {
  return headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
}

/** Node throws away, behind the answer, what nobody has read. */
function forgetBody({ raw: { headers } }: FastifyRequest): void {
  headers['content-type'] = headers['content-length'] = headers['transfer-encoding'] = undefined;
}
