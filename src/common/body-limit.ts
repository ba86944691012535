import { RouteConfig } from '@nestjs/platform-fastify';

/** What a route accepts unless it says otherwise, in bytes. */
export const BODY_BYTES_MAX_DEFAULT = 128 * 1024;

/** Lets a route accept larger bodies; `app.setup.ts` tells Fastify. Above: 413. */
export const BodyLimit = (bytesMax: number): MethodDecorator => RouteConfig({ bodyBytesMax: bytesMax });

/**
 * Gives a route the bytes of its body as they came, unparsed: a signature is over them, or it reads them by rules of its
 * own.
 * @param mediaTypes what it takes; those that are not `application/json` need a parser in `app.setup.ts`.
 */
export const RawBody = (
  bytesMax: number,
  mediaTypes: readonly string[] = ['application/json'],
): MethodDecorator => RouteConfig({ bodyBytesMax: bytesMax, rawBody: true, mediaTypes });

/** A GET route that is asked with the headers of another request: also with its method, and whatever body comes along. */
export const HeadersOnly = (): MethodDecorator => RouteConfig({ headersOnly: true });

/** One event in JSON, and a list of them (CloudEvents 1.0, JSON Event Format, 3 and 4). */
export const CLOUD_EVENT = 'application/cloudevents+json';
export const CLOUD_EVENTS = 'application/cloudevents-batch+json';
