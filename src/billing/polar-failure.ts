import { PolarClientError, PolarRateLimitError } from '@polar-sh/sdk';

/**
 * What became of a request to Polar that did not succeed: it was refused for what it says (`refused`), what it names is
 * not there (`not_found`), the token or its scope is at fault (`unauthorized`), too many were sent (`rate_limited`), or
 * nobody knows whether it was done (`unknown`): no answer, half an answer, an answer that is none of Polar's.
 */
export type PolarFailureKind = 'refused' | 'not_found' | 'unauthorized' | 'rate_limited' | 'unknown';

/** One complaint of a 422: where in the request, and what is wrong. */
export interface PolarComplaint {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
}

const RATE_LIMIT_SECONDS_DEFAULT = 60;
const MESSAGE_CHARS_MAX = 300;

/** The one error that {@link PolarClient} throws. */
export class PolarFailure extends Error {
  constructor(
    readonly kind: PolarFailureKind,
    message: string,
    readonly status: number | null = null,
    readonly complaints: readonly PolarComplaint[] = [],
    /** How long to wait, with `rate_limited`. */
    readonly retryAfterSeconds: number = RATE_LIMIT_SECONDS_DEFAULT,
  ) {
    super(message.slice(0, MESSAGE_CHARS_MAX));
    this.name = 'PolarFailure';
  }
}

/** Finds the kind of anything the SDK throws: it wraps some failures, and lets others through as they come. */
export function toPolarFailure(thrown: unknown): PolarFailure {
  if (thrown instanceof PolarFailure) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof PolarRateLimitError) {
    const { retryAfter } = thrown;
    const isNumber = retryAfter !== null && Number.isFinite(retryAfter) && retryAfter >= 0;
    return new PolarFailure('rate_limited', message, 429, [], isNumber ? retryAfter : undefined);
  }
  if (thrown instanceof PolarClientError) {
    return new PolarFailure(kindOf(thrown), message, thrown.statusCode, complaintsOf(thrown.error));
  }
  return new PolarFailure('unknown', message);
}

function kindOf({ statusCode, error }: PolarClientError): PolarFailureKind {
  if (statusCode === 401) return 'unauthorized';
  // A 403 that is about the subscription says so by name; one that is about the token is a bare text.
  if (statusCode === 403) return /Subscription/.test(JSON.stringify(error)) ? 'refused' : 'unauthorized';
  return statusCode === 404 ? 'not_found' : 'refused';
}

function complaintsOf(error: unknown): PolarComplaint[] {
  const detail = (error as { detail?: unknown } | null)?.detail;
  if (!Array.isArray(detail)) return [];
  return detail.map((entry: { loc?: unknown; msg?: unknown }) => ({
    loc: Array.isArray(entry.loc) ? (entry.loc as (string | number)[]) : [],
    msg: typeof entry.msg === 'string' ? entry.msg : '',
  }));
}
