import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import type { ApiError } from '../common/api-error';
import { CLOUD_EVENT, CLOUD_EVENTS } from '../common/body-limit';
import { CommonErrors } from '../common/common.errors';
import type { UsageEventDto } from './usage-events.dto';

export const EVENTS_MAX = 1_000;

/**
 * The events of a body: one CloudEvent, a list of them, or what stands in `{ "events": [...] }`, as its type says. They
 * are not looked at yet: one that is wrong must not take the others with it.
 * @throws ApiError `malformed_request`, `validation_failed`.
 */
export function readEvents(mediaType: string, body: Buffer): unknown[] {
  const value = parseJson(body);
  const events = mediaType === CLOUD_EVENT ? [value] : mediaType === CLOUD_EVENTS ? value : eventsIn(value);
  if (!Array.isArray(events) || events.length === 0 || events.length > EVENTS_MAX)
    throw invalid('events', `must be a list of 1 to ${EVENTS_MAX} events`);
  return events;
}

/** A CloudEvent in the form of an event of our own; anything else as it is. What is null is unset (CloudEvents 1.0, JSON format, 2.2). */
export function fromCloudEvent(event: unknown): unknown {
  if (!isObject(event) || !Object.hasOwn(event, 'specversion')) return event;
  const { specversion, id, source, type } = event;
  const time = event['time'] ?? undefined;
  const subject = event['subject'] ?? undefined;
  const data = event['data'] ?? {};
  if (specversion !== '1.0') throw invalid('specversion', 'must be "1.0"');
  if (typeof source !== 'string' || source === '') throw invalid('source', 'must be a URI reference');
  if ((event['data_base64'] ?? undefined) !== undefined)
    throw invalid('data_base64', 'is not read here; send "data" as a JSON object');
  if (!isObject(data)) throw invalid('data', 'must be an object');
  const ofSubject = subject !== undefined && !('user_id' in data) && !('api_key_id' in data);
  return {
    ...(ofSubject && { user_id: subject }),
    ...data,
    id,
    source,
    operation: type,
    ...(time !== undefined && { time }),
  };
}

/** Digest of what makes an event the same as another. */
export function identityOf({ source, id }: Pick<UsageEventDto, 'source' | 'id'>): Buffer {
  return digest([source, id]);
}

/** Digest of what an event says, however it is written. */
export function fingerprintOf(event: UsageEventDto): Buffer {
  return digest(
    Object.assign({}, event, {
      user_id: event.user_id?.toLowerCase(),
      api_key_id: event.api_key_id?.toLowerCase(),
      time: event.time && new Date(event.time).toISOString(),
    }),
  );
}

/** SHA-256 of a value, however its fields are ordered. */
export function digest(value: unknown): Buffer {
  return createHash('sha256')
    .update(JSON.stringify(value, (_name, part: unknown) => (isObject(part) ? sorted(part) : part)))
    .digest();
}

function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parseJson(body: Buffer): unknown {
  try {
    if (isUtf8(body)) return JSON.parse(body.toString('utf8'));
  } catch {
    // Told below, as any other body that is no JSON.
  }
  throw CommonErrors.malformedRequest();
}

function eventsIn(value: unknown): unknown {
  if (!isObject(value)) throw invalid('', 'the body must be a JSON object');
  const unknown = Object.keys(value).find((name) => name !== 'events');
  if (unknown !== undefined) throw invalid(unknown.slice(0, 100), 'is not known here; send "events"');
  return value['events'];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(field: string, message: string): ApiError {
  return CommonErrors.validationFailed.with({ errors: [{ field, message }] });
}
