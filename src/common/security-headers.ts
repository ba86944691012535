import { resolveSecurityHeaders } from '@nestjs/core/security/security-headers.js';

/**
 * The headers that every answer carries, by their names. Nest makes them; Fastify sends them, for what Nest itself puts
 * on Node's answer Fastify has to copy, header by header.
 */
export const securityHeaders: Readonly<Record<string, string>> = Object.fromEntries(
  resolveSecurityHeaders({
    contentSecurityPolicy: {
      useDefaults: false,
      // Swagger UI needs its own styles and data images; nothing needs anything else.
      directives: {
        defaultSrc: ["'self'"],
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'data:'],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    xFrameOptions: { action: 'deny' },
  }).headers.map(([name, value]) => [name.toLowerCase(), value]),
);
