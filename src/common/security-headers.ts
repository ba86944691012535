import type { SecurityHeadersOptions } from '@nestjs/common';
import { resolveSecurityHeaders } from '@nestjs/core/security/security-headers.js';

type Headers = Readonly<Record<string, string>>;

/** The headers of pages, by their names. Swagger UI needs its own styles and data images; nothing needs anything else. */
const pageHeaders = made({
  contentSecurityPolicy: {
    useDefaults: false,
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
});

/**
 * The headers of every other answer. No browser shows it as a page, so it may load nothing, and without what only says
 * how pages are to be treated every answer of the API is by 300 bytes smaller. The rest is what OWASP's cheat sheet for
 * REST security asks for.
 */
export const answerHeaders = made({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  },
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

/** The security headers of an answer of this media type. */
export function securityHeaders(contentType: unknown): Headers {
  return typeof contentType === 'string' && contentType.startsWith('text/html') ? pageHeaders : answerHeaders;
}

/**
 * Nest makes the headers; Fastify sends them, for what Nest itself puts on Node's answer Fastify has to copy, header by
 * header.
 */
function made(options: SecurityHeadersOptions): Headers {
  const { headers } = resolveSecurityHeaders({ xFrameOptions: { action: 'deny' }, ...options });
  return Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
}
