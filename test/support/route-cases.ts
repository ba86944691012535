import type { Answer, Sent } from './http';
import { Callers, exampleBody, inBatches, pathOf, type Route, storedState } from './route-list';
import type { TestApp } from './test-app';

/** One request that a route must survive. */
export interface RouteCase {
  readonly route: Route;
  /** What is odd about it, for the report. */
  readonly what: string;
  readonly sent: Sent;
  /** Default: the route's, with random UUIDs for its parameters. */
  readonly path?: string;
  /** Whether the document, or a rule of all input, forbids it. */
  readonly mustRefuse: boolean;
}

type ReadyCase = RouteCase & { readonly credential: Sent };

const REFUSALS = [400, 404, 413, 414, 415];
/** Of the requests that validation refuses, so many are also sent by nobody, whom the guard refuses. */
const ONE_STRANGER_IN = 4;
/** So many faults are told; the rest is counted. */
const FAULTS_TOLD = 20;
/** Whether every case is sent, as `.ci/run` does it; else a part, so that `npm test` stays short however many routes there are. */
export const isThorough = process.env['BAD_INPUT'] === 'all';
/** So many cases of a list are sent then, evenly spread over it. */
const CASES_MAX = isThorough ? Infinity : 300;
/** Fields that are stored in another form than they are sent in. */
const REWRITTEN = /^(email|expires_at|effective_from)$|token$/;

/** The example body of a route with one field replaced by a JSON text, or left out. */
export function bodyWith(t: Pick<TestApp, 'make'>, route: Route, name: string, json?: string): string {
  const fields = Object.entries(exampleBody(route, t))
    .filter(([key]) => key !== name)
    .map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  if (json !== undefined) fields.push(`${JSON.stringify(name)}:${json}`);
  return `{${fields.join(',')}}`;
}

/** A case with a JSON text as its body; it must be refused when the document forbids it or it cannot be stored as it is. */
export function bodyCase(route: Route, what: string, raw: string, mustRefuse?: boolean): RouteCase {
  const value: unknown = JSON.parse(raw);
  // Written as JSON, a NUL and half a surrogate pair are always escaped.
  const isStorable = !/\\u0000|\\ud[89a-f]/.test(JSON.stringify(value));
  return {
    route,
    what: `${what} ${raw.slice(0, 150)}`,
    sent: { raw, headers: { 'content-type': 'application/json' } },
    mustRefuse: mustRefuse ?? (!isStorable || !route.allowsBody(value)),
  };
}

/**
 * Sends every case with a credential that the route's guard lets in, and every fourth of the forbidden also without.
 * @returns what went wrong, a line each: an error of ours, an answer that is not documented or no problem+json, a limit
 * met, forbidden input taken or stored, and text that was taken but comes back as another.
 */
export async function faultsOf(t: TestApp, callers: Callers, cases: readonly RouteCase[]): Promise<string[]> {
  if (cases.length === 0) return ['There is nothing to send.'];
  const ready = await inBatches(evenly(cases, CASES_MAX), async (one): Promise<ReadyCase> => ({
    ...one,
    credential: await callers.credential(one.route, !one.mustRefuse),
  }));
  const forbidden = ready.filter(({ mustRefuse }) => mustRefuse);
  const strangers = forbidden.filter(
    ({ route }, i) => route.access !== 'public' && i % ONE_STRANGER_IN === 0,
  );
  const send = (one: ReadyCase): Promise<string | undefined> => faultOf(t, one);

  const before = await storedState(t);
  const refused = await inBatches(
    [...forbidden, ...strangers.map((one) => ({ ...one, credential: {} }))],
    send,
  );
  const after = await storedState(t);
  const changed = Object.keys(after).filter((table) => after[table] !== before[table]);
  const taken = await inBatches(
    ready.filter(({ mustRefuse }) => !mustRefuse),
    send,
  );
  const faults = [
    ...refused,
    ...changed.map((table) => `Refused requests changed the table ${table}.`),
    ...taken,
  ].filter((fault) => fault !== undefined);
  const more = faults.length > FAULTS_TOLD ? [`and ${faults.length - FAULTS_TOLD} more`] : [];
  return [...faults.slice(0, FAULTS_TOLD), ...more];
}

/** At most `max` of a list, at equal distances. */
export function evenly<T>(list: readonly T[], max: number): readonly T[] {
  if (list.length <= max) return list;
  const place = (i: number): number => Math.floor((i * max) / list.length);
  return list.filter((_item, i) => place(i) !== place(i - 1));
}

async function faultOf(
  t: TestApp,
  { route, path = pathOf(route), sent, what, mustRefuse, credential }: ReadyCase,
): Promise<string | undefined> {
  try {
    const answer = await t.http.from().send(route.method, path, { ...credential, ...sent });
    const isStranger = route.access !== 'public' && Object.keys(credential).length === 0;
    const expected = mustRefuse ? (isStranger ? [...REFUSALS, 401] : REFUSALS) : undefined;
    const fault = faultIn(answer, expected) ?? (expected ? undefined : changedText(answer, sent));
    return fault && `${route.name}, ${what}: ${fault}: ${answer.text.slice(0, 150)}`;
  } catch (error) {
    return `${route.name}, ${what}: ${String(error).slice(0, 250)}`;
  }
}

function faultIn(
  { status, headers, body }: Answer,
  expected: readonly number[] | undefined,
): string | undefined {
  const { code, request_id: requestId } = (body ?? {}) as { code?: string; request_id?: string };
  if (status >= 500 && !code?.endsWith('_not_configured')) return `answered ${status}`;
  if (status === 429) return 'met a limit';
  if (expected && !expected.includes(status)) return `answered ${status}`;
  if (status < 400) return undefined;
  if (!headers.get('content-type')?.startsWith('application/problem+json')) return 'is no problem+json';
  return headers.get('x-request-id') === requestId ? undefined : 'names another request';
}

/** A text that was taken must come back as it was, wherever the answer shows its field. */
function changedText(answer: Answer, { raw }: Sent): string | undefined {
  if (answer.status >= 300 || typeof raw !== 'string') return undefined;
  for (const [name, value] of Object.entries(JSON.parse(raw) as object)) {
    if (typeof value !== 'string' || value === '' || REWRITTEN.test(name)) continue;
    const shown = fieldIn(answer.body, name);
    if (shown !== undefined && shown !== value) return `shows another ${name}`;
  }
  return undefined;
}

function fieldIn(body: unknown, name: string): unknown {
  if (typeof body !== 'object' || body === null) return undefined;
  if (Object.hasOwn(body, name)) return (body as Record<string, unknown>)[name];
  return Object.values(body)
    .map((value) => fieldIn(value, name))
    .find((value) => value !== undefined);
}
