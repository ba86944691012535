import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { CLOUD_EVENT, CLOUD_EVENTS } from './common/body-limit';
import { CommonErrors } from './common/common.errors';

/** Bodies are JSON in UTF-8 and, but on a route that takes CloudEvents, nothing else. Bytes that are not would be stored as another text than was sent. */
export function setUpBodies(fastify: FastifyInstance): void {
  const parseJson = fastify.getDefaultJsonParser('error', 'error');
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    const { rawBody } = request.routeOptions.config as { rawBody?: boolean };
    if (rawBody) done(null, body);
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
}
