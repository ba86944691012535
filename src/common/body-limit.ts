import { RouteConfig } from '@nestjs/platform-fastify';

/** What a route accepts unless it says otherwise, in bytes. */
export const BODY_BYTES_MAX_DEFAULT = 128 * 1024;

/** Lets a route accept larger bodies; `app.setup.ts` tells Fastify. Above: 413. */
export const BodyLimit = (bytesMax: number): MethodDecorator => RouteConfig({ bodyBytesMax: bytesMax });
