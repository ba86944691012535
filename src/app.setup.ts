import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';

import { AppModule } from './app.module';
import { setUpBodies } from './body-parsers';
import { answerBrokenRequest, answerUnroutable } from './broken-requests';
import { BODY_BYTES_MAX_DEFAULT } from './common/body-limit';
import { CommonErrors } from './common/common.errors';
import type { RequestState } from './common/principal';
import { newRequestId } from './common/request-id';
import { securityHeaders } from './common/security-headers';
import type { Env } from './config/env';
import { setUpDocs } from './docs-page';
import {
  REQUEST_STATEMENT_MS_MAX,
  STATEMENT_MS_MAX,
  withStatementLimit,
} from './platform/database/statement-limits';
import { Readiness } from './platform/health/readiness';
import { NestLog } from './platform/observability/log';
import { Metrics } from './platform/observability/metrics';
import { Traces } from './platform/observability/traces';

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How often Node looks for heads and bodies that are late: by default only every 30 s. */
const LATENESS_CHECK_MS = 1_000;
/** Longer than the 60 s for which nginx and others keep a connection that they may use again. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** Beyond a provider's own time-out, for meanwhile nothing moves on the connection: who reads an answer this slowly does not want it. */
const STALLED_BEYOND_PROVIDER_MS = 15_000;
/** Of one process; a connection that only waits costs a few kilobytes and a descriptor. */
const CONNECTIONS_MAX = 10_000;
const PARAM_LENGTH_MAX = 256;

/** What stands outside `/api/v1`. */
const OUTSIDE_PREFIX = [
  '/',
  'health',
  'health/live',
  'health/ready',
  'metrics',
  '.well-known/jwks.json',
  'verify-email',
  'reset-password',
  'stop-two-factor-reset',
  'confirm-email',
  'undo-email',
  'not-me',
  'dev/mailbox',
  'dev/mailbox.json',
];

/**
 * Builds the whole application, as `main.ts` and the tests run it: it is initialised, but does not listen yet.
 * @param databaseUrl of the configured or the embedded server; its schema is brought up to date here.
 */
export async function createApp(env: Env, databaseUrl: string, log: Logger): Promise<NestFastifyApplication> {
  const app = await NestFactory.create<NestFastifyApplication>(
    AppModule.register(env, databaseUrl, log),
    createAdapter(env, log),
    {
      // Fastify's own JSON parser refuses what Nest's would take: form bodies and prototype poisoning.
      bodyParser: false,
      abortOnError: false,
      logger: new NestLog(log),
    },
  );
  return setUpApp(app, env, log);
}

/** Everything about HTTP that is not the request pipeline: prefix, headers, CORS, body limits, access log and docs. */
export async function setUpApp(
  app: NestFastifyApplication,
  env: Env,
  log: Logger,
): Promise<NestFastifyApplication> {
  const fastify = app.getHttpAdapter().getInstance();
  fastify.server.maxConnections = CONNECTIONS_MAX;
  setUpBodies(fastify);
  app.setGlobalPrefix('api/v1', { exclude: OUTSIDE_PREFIX });
  if (env.ALLOWED_ORIGINS.length > 0) {
    app.enableCors({
      origin: env.ALLOWED_ORIGINS.includes('*') ? '*' : [...env.ALLOWED_ORIGINS],
      methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      exposedHeaders: [
        'RateLimit',
        'RateLimit-Policy',
        'Retry-After',
        'X-Request-Id',
        'Idempotency-Replayed',
      ],
    });
  }
  app.get(Traces).watch(fastify);
  setUpHooks(fastify, app.get(Readiness), app.get(Metrics), log);
  if (env.DOCS_ENABLED) setUpDocs(app);
  return app.init();
}

export function createAdapter(env: Env, log: Logger): FastifyAdapter {
  return new FastifyAdapter({
    bodyLimit: BODY_BYTES_MAX_DEFAULT,
    trustProxy: trustedProxies(env.TRUST_PROXY),
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionTimeout: env.PROVIDER_TIMEOUT_SECONDS * 1_000 + STALLED_BEYOND_PROVIDER_MS,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: LATENESS_CHECK_MS,
      // A missing Host is ours to answer: Node's own answer has no body.
      requireHostHeader: false,
    },
    routerOptions: { maxParamLength: PARAM_LENGTH_MAX },
    genReqId: newRequestId,
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
      answerUnroutable(error, request, reply);
      logAccess(log, request, reply);
    },
    // Fastify's own answer while it closes is no problem document.
    return503OnClosing: false,
  });
}

/** Fastify refuses to count hops by itself, for a client that reaches the service directly can make them up: the docs say so. */
function trustedProxies(
  trust: Env['TRUST_PROXY'],
): false | string[] | ((address: string, hop: number) => boolean) {
  return typeof trust === 'number' ? (_address, hop) => hop < trust : trust && [...trust];
}

function setUpHooks(fastify: FastifyInstance, readiness: Readiness, metrics: Metrics, log: Logger): void {
  fastify.addHook('onRoute', (route) => {
    const { bodyBytesMax } = (route.config ?? {}) as { bodyBytesMax?: number };
    if (bodyBytesMax !== undefined) route.bodyLimit = bodyBytesMax;
  });
  fastify.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    if (!isSound(request)) throw CommonErrors.malformedRequest();
    if (request.url.startsWith('/api/')) reply.header('cache-control', 'no-store');
    done();
  });
  // Behind the body, for what is set before is not known any more once that has come.
  fastify.addHook('preValidation', ({ url }, _reply, done) => {
    // What an admin asks for looks through all accounts.
    withStatementLimit(url.startsWith('/api/v1/admin/') ? STATEMENT_MS_MAX : REQUEST_STATEMENT_MS_MAX, done);
  });
  fastify.addHook('onSend', (_request, reply, payload, done) => {
    // Not earlier: some answers Nest gives before our hooks are asked. Pages of ours say what they may load.
    const ownPolicy = reply.getHeader('content-security-policy');
    reply.headers(securityHeaders(reply.getHeader('content-type')));
    if (ownPolicy !== undefined) reply.header('content-security-policy', ownPolicy);
    // Not earlier either: it may have been asked before, and be answered long after.
    if (readiness.isSendingAway) reply.header('connection', 'close');
    done(null, payload);
  });
  fastify.addHook('onResponse', (request, reply, done) => {
    const { elapsedTime, statusCode } = reply;
    metrics.answered(request.routeOptions.url ?? 'none', request.method, statusCode, elapsedTime / 1_000);
    logAccess(log, request, reply);
    done();
  });
}

/** RFC 9112, 3.2: exactly one Host, which only HTTP/1.0 may leave out; what is older than that is not spoken here. */
function isSound({ raw }: FastifyRequest): boolean {
  let hosts = 0;
  for (let i = 0; i < raw.rawHeaders.length; i += 2) {
    const name = raw.rawHeaders[i];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  return raw.httpVersionMajor >= 1 && (hosts === 1 || (hosts === 0 && raw.httpVersion === '1.0'));
}

/** One line per request: the route's template, never its query, which may hold a token. */
function logAccess(log: Logger, request: FastifyRequest & RequestState, reply: FastifyReply): void {
  if (!log.isLevelEnabled('info')) return;
  log.info(
    {
      request_id: request.id,
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: reply.statusCode,
      duration_ms: Math.round(reply.elapsedTime * 10) / 10,
      ip: request.ip,
      user_id: request.user?.userId,
      api_key_id: request.user?.kind === 'api_key' ? request.user.apiKeyId : undefined,
    },
    'request',
  );
}
