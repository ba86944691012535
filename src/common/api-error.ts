/** One entry of an error catalogue: what the docs list and what clients may rely on. */
export interface ErrorDefinition<Args extends readonly unknown[] = never> {
  /** Stable machine-readable name; part of the API. */
  readonly code: string;
  readonly status: number;
  readonly title: string;
  /** What happened and what to do now, in plain words; the wording may change. */
  readonly detail: string | ((...args: Args) => string);
  /** What the documented example of the text is made with. */
  readonly sample?: readonly unknown[];
}

/** A wrong field of the input: its path in the body or query, and what is wrong with it. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/** What an error may carry besides its catalogue entry. */
export interface ErrorExtras {
  readonly errors?: readonly FieldError[];
  /** Sent as `Retry-After`, in whole seconds (RFC 9110, 10.2.3). */
  readonly retryAfterSeconds?: number;
  /** Of the request that was answered so first, when that is another one. */
  readonly requestId?: string;
  /** Names of the rate limits that refuse. */
  readonly violatedPolicies?: readonly string[];
  /** For the second step of a log-in. */
  readonly challengeToken?: string;
  /** For the log only; never sent. */
  readonly cause?: unknown;
}

/** The only error a service throws on purpose; the problem filter turns it into RFC 9457 `application/problem+json`. */
export class ApiError extends Error {
  readonly errors?: readonly FieldError[];
  readonly retryAfterSeconds?: number;
  readonly requestId?: string;
  readonly violatedPolicies?: readonly string[];
  readonly challengeToken?: string;

  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    detail: string,
    extras: ErrorExtras = {},
  ) {
    super(detail, { cause: extras.cause });
    this.name = 'ApiError';
    this.errors = extras.errors;
    this.retryAfterSeconds = extras.retryAfterSeconds;
    this.requestId = extras.requestId;
    this.violatedPolicies = extras.violatedPolicies;
    this.challengeToken = extras.challengeToken;
  }
}

/** Makes the {@link ApiError} of one catalogue entry; `with` adds a cause, field errors or a waiting time. */
export interface ErrorFactory<Args extends readonly unknown[]> {
  (...args: Args): ApiError;
  with(extras: ErrorExtras, ...args: Args): ApiError;
  readonly definition: ErrorDefinition<Args>;
}

const catalogue = new Map<string, ErrorDefinition>();

/**
 * Declares an entry of the error catalogue.
 * @throws Error when the code is taken: a code names one error.
 */
export function defineError<Args extends readonly unknown[] = []>(
  definition: ErrorDefinition<Args> & { readonly sample?: NoInfer<Args> },
): ErrorFactory<Args> {
  if (catalogue.has(definition.code)) throw new Error(`Error code ${definition.code} is declared twice.`);
  catalogue.set(definition.code, definition);

  const make = (extras: ErrorExtras, args: Args): ApiError => {
    const { status, code, title, detail } = definition;
    return new ApiError(status, code, title, typeof detail === 'string' ? detail : detail(...args), extras);
  };
  return Object.assign((...args: Args) => make({}, args), {
    with: (extras: ErrorExtras, ...args: Args) => make(extras, args),
    definition,
  });
}

/** Every declared error, by status and code: the source of `docs/errors.md`. */
export function errorCatalogue(): ErrorDefinition[] {
  return [...catalogue.values()].sort((a, b) => a.status - b.status || a.code.localeCompare(b.code));
}
