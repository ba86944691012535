import type { ApiError } from '../common/api-error';
import { GenerateErrors } from './generate.errors';
import type { ProviderAccess, RemoteProvider } from './language-models';

const CAUSE_CHARS_MAX = 300;
const RETRY_AFTER_SECONDS_MAX = 86_400;

/** What is read of the AI SDK's `APICallError`; read by shape, so that nothing is loaded for it. */
interface CallFailure {
  readonly statusCode?: number;
  readonly responseHeaders?: Readonly<Record<string, string>>;
  readonly responseBody?: string;
}

/**
 * The error a caller gets for whatever went wrong between us and a provider.
 * Its cause, for the log, holds the status and the shortened message: never the prompt, the headers or the key.
 */
export function providerFailure(provider: RemoteProvider, access: ProviderAccess, thrown: unknown): ApiError {
  const failure = asCallFailure(thrown);
  const extras = {
    cause: loggableCause(failure, thrown, access),
    retryAfterSeconds: retryAfterSeconds(failure),
  };
  const { statusCode = 0 } = failure;

  if (statusCode === 429) return GenerateErrors.providerRateLimited.with(extras, provider);
  if (isTimeout(thrown)) return GenerateErrors.providerTimedOut.with(extras, provider);
  if ([400, 404, 413, 422].includes(statusCode) && !isOperatorsFault(failure)) {
    return GenerateErrors.providerRejected.with({ cause: extras.cause }, provider);
  }
  return GenerateErrors.providerFailed.with(extras, provider);
}

/**
 * Refusals with a status of bad input that the caller cannot cure: Gemini answers 400 to a wrong key and to a project
 * without billing, Anthropic 400 to an empty account, and a 404 that is no JSON comes from a wrong base URL.
 */
function isOperatorsFault({ statusCode, responseBody = '' }: CallFailure): boolean {
  if (statusCode === 404) return !/^\s*[[{]/.test(responseBody);
  return (
    statusCode === 400 &&
    /"API_KEY_INVALID"|"FAILED_PRECONDITION"|credit balance is too low/.test(responseBody)
  );
}

/** Node's fetch has limits of its own: 10 s to connect, 300 s for the headers and between two parts of the body. */
function isTimeout(thrown: unknown): boolean {
  return causes(thrown).some(
    (error) =>
      error.name === 'TimeoutError' ||
      /^(ETIMEDOUT|UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT)$/.test(String((error as { code?: unknown }).code)),
  );
}

/**
 * The waiting time the provider asks for: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), measured against
 * the `Date` of the same answer so that no two clocks are compared, or the `retryDelay` in the body of Gemini's 429.
 */
function retryAfterSeconds({ responseHeaders = {}, responseBody = '' }: CallFailure): number | undefined {
  const header = responseHeaders['retry-after'];
  const delay = /"retryDelay":\s*"(\d+(?:\.\d+)?)s"/.exec(responseBody)?.[1];
  let seconds = Number(header ?? delay ?? NaN);
  if (Number.isNaN(seconds) && header !== undefined) {
    seconds = (Date.parse(header) - Date.parse(responseHeaders['date'] ?? '')) / 1000;
  }
  return seconds >= 0 && seconds <= RETRY_AFTER_SECONDS_MAX ? Math.ceil(seconds) : undefined;
}

function loggableCause({ statusCode }: CallFailure, thrown: unknown, { apiKey }: ProviderAccess): Error {
  const status = statusCode === undefined ? '' : `status ${statusCode}: `;
  const message = causes(thrown)
    .map((error) => error.message)
    .join(': ');
  // Providers repeat keys in their messages, and a base URL may hold a password.
  const safe = message.replaceAll(apiKey, '[key]').replace(/\/\/[^/\s@]+@/g, '//');
  return new Error(status + safe.slice(0, CAUSE_CHARS_MAX));
}

function asCallFailure(thrown: unknown): CallFailure {
  return typeof thrown === 'object' && thrown !== null ? thrown : {};
}

/** An error and what caused it, outermost first; errors of another realm have no `instanceof Error`. */
function causes(thrown: unknown): Error[] {
  const chain: Error[] = [];
  for (
    let next = thrown;
    typeof next === 'object' && next !== null && 'message' in next && chain.length < 5;
  ) {
    const error = next as Error;
    chain.push(error);
    next = error.cause;
  }
  return chain;
}
