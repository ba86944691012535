import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Inject } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DatabaseError } from 'pg';
import type { Logger } from 'pino';
import { ApiError } from './api-error';
import { CommonErrors } from './common.errors';
import { keyRefusals } from './denials';
import { answerAndLinger } from './linger';
import { LOG } from './log-token';

/**
 * The last step of the pipeline: turns whatever was thrown into RFC 9457 `application/problem+json`.
 * Only an {@link ApiError} speaks for itself; everything else gets a general text. From 500 up there is a log line: an
 * error, but for what the operator has not set up, where nothing has failed.
 */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(@Inject(LOG) private readonly log: Logger) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const error = toApiError(thrown);

    if (error.code.endsWith(NOT_CONFIGURED)) {
      this.log.info({ request_id: request.id, code: error.code }, error.title);
    } else if (error.status >= 500) {
      this.log.error({ request_id: request.id, code: error.code, err: error.cause ?? thrown }, error.title);
    }
    const body = problemBody(error, request.id);
    reply.header('x-request-id', request.id);
    if (error.retryAfterSeconds !== undefined) reply.header('retry-after', error.retryAfterSeconds);
    if (error.status === 401) reply.header('www-authenticate', challengeOf(error));

    // An answer given before the body was read must not reset the client that is still sending it.
    if (hasUnreadBody(request)) answerAndLinger(request, reply, error.status, body);
    else void reply.status(error.status).header('content-type', PROBLEM_TYPE).send(body);
  }
}

const NOT_CONFIGURED = '_not_configured';

/** The codes by which AuthGuard refuses a credential. */
const refusedCredentials = new Set(Object.values(keyRefusals).map((refusal) => refusal().code));

/** RFC 6750, 3.1: whoever sent no credential learns of no error. */
function challengeOf({ code }: ApiError): string {
  const challenge = 'Bearer realm="cortex-auth"';
  return refusedCredentials.has(code) ? `${challenge}, error="invalid_token"` : challenge;
}

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** The JSON text of a problem (RFC 9457, section 3); what follows `detail` are extension members. */
export function problemBody(error: ApiError, requestId: string): string {
  return JSON.stringify({
    type: `urn:problem-type:cortex-auth:${error.code}`,
    title: error.title,
    status: error.status,
    detail: error.message,
    code: error.code,
    request_id: error.requestId ?? requestId,
    ...(error.errors && { errors: error.errors }),
    ...(error.violatedPolicies && { violated_policies: error.violatedPolicies }),
    ...(error.challengeToken && { challenge_token: error.challengeToken }),
  });
}

function hasUnreadBody({ raw, headers }: FastifyRequest): boolean {
  return (
    !raw.complete &&
    (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0)
  );
}

/** Finds the catalogue entry of anything thrown by us, Nest, Fastify or the database driver. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  const status =
    thrown instanceof HttpException
      ? thrown.getStatus()
      : (thrown as { statusCode?: unknown } | null)?.statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500) return clientError(status, thrown);
  if (isConnectionFailure(thrown))
    return CommonErrors.unavailable.with({ cause: thrown, retryAfterSeconds: 1 });
  return CommonErrors.internal.with({ cause: thrown });
}

function clientError(status: number, cause: unknown): ApiError {
  switch (status) {
    case 404:
      return CommonErrors.routeNotFound.with({ cause });
    case 413:
      return CommonErrors.payloadTooLarge.with({ cause });
    case 414:
      return CommonErrors.uriTooLong.with({ cause });
    case 415:
      return CommonErrors.unsupportedMediaType.with({ cause });
    default:
      return CommonErrors.malformedRequest.with({ cause });
  }
}

/**
 * Node's socket errors; of PostgreSQL class 08 (connection), 53 (resources), 57P0x (shutdown), 25006 (read-only, as a
 * server without disk space or behind a fail-over may be), 40001 and 40P01 (one of two transactions was given up) and
 * whatever it says before a query could be sent, which TypeORM does not wrap; and the pool's own time-outs.
 */
function isConnectionFailure(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  if (thrown instanceof DatabaseError) return true;
  const code = (thrown as { code?: unknown }).code;
  if (
    typeof code === 'string' &&
    /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|08|53|57P0|25006|40001|40P01)/.test(code)
  )
    return true;
  return /Connection terminated|not queryable|timeout exceeded when trying to connect|Query read timeout/.test(
    thrown.message,
  );
}
