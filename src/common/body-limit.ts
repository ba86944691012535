import { RouteConfig } from '@nestjs/platform-fastify';

/** What a route accepts unless it says otherwise, in bytes. */
export const BODY_BYTES_MAX_DEFAULT = 128 * 1024;

/** Lets a route accept larger bodies; `app.setup.ts` tells Fastify. Above: 413. */
export const BodyLimit = (bytesMax: number): MethodDecorator => RouteConfig({ bodyBytesMax: bytesMax });

/** Gives a route the bytes of its body as they came, unparsed: a signature is over them. */
export const RawBody = (bytesMax: number): MethodDecorator =>
  RouteConfig({ bodyBytesMax: bytesMax, rawBody: true });
