import { CLOUD_EVENT, CLOUD_EVENTS } from '../common/body-limit';
import { fingerprintOf, fromCloudEvent, identityOf, readEvents } from './event-reader';
import { UsageEventDto } from './usage-events.dto';

const event = (fields: Partial<UsageEventDto>): UsageEventDto =>
  Object.assign(new UsageEventDto(), { id: '1', operation: 'search', ...fields });

describe('a report', () => {
  it.each([
    ['application/json', '{"events":[1,{"id":"a"}]}', [1, { id: 'a' }]],
    [CLOUD_EVENT, '{"id":"a"}', [{ id: 'a' }]],
    [CLOUD_EVENTS, '[{"id":"a"},null]', [{ id: 'a' }, null]],
  ])('of %s is read without a look at its events', (type, body, events) => {
    expect(readEvents(type, Buffer.from(body))).toEqual(events);
  });

  it.each([
    ['application/json', '{"events":', 'malformed_request'],
    ['application/json', '{"events":[]}', 'validation_failed'],
    ['application/json', '{"events":{}}', 'validation_failed'],
    ['application/json', '[{"id":"a"}]', 'validation_failed'],
    ['application/json', '{"events":[1],"more":1}', 'validation_failed'],
    ['application/json', '{"events":[1],"__proto__":{}}', 'validation_failed'],
    ['application/json', `{"events":[${'1,'.repeat(1_000)}1]}`, 'validation_failed'],
    [CLOUD_EVENTS, '{"id":"a"}', 'validation_failed'],
    [CLOUD_EVENTS, '[]', 'validation_failed'],
  ])('of %s that is none is refused: %s', (type, body, code) => {
    expect(() => readEvents(type, Buffer.from(body))).toThrow(expect.objectContaining({ code }) as Error);
  });

  it('that is not UTF-8 is refused', () => {
    const body = Buffer.from('{"events":["é"]}', 'latin1');
    expect(() => readEvents('application/json', body)).toThrow('not well-formed');
  });
});

describe('a CloudEvent', () => {
  const cloudEvent = { specversion: '1.0', id: 'a', source: '/s', type: 'search' };

  it('says what an event of our own says', () => {
    expect(
      fromCloudEvent({
        ...cloudEvent,
        time: '2026-11-22T05:26:00Z',
        subject: 'u',
        datacontenttype: 'application/json',
        traceparent: '00-1',
        data: { input_tokens: 1 },
      }),
    ).toEqual({
      id: 'a',
      source: '/s',
      operation: 'search',
      time: '2026-11-22T05:26:00Z',
      user_id: 'u',
      input_tokens: 1,
    });
  });

  it('takes null for unset', () => {
    expect(
      fromCloudEvent({ ...cloudEvent, time: null, subject: null, data: null, data_base64: null }),
    ).toEqual({
      id: 'a',
      source: '/s',
      operation: 'search',
    });
  });

  it('names its customer in its data before its subject, and keeps its own name whatever its data says', () => {
    expect(fromCloudEvent({ ...cloudEvent, subject: 'u', data: { user_id: 'v', id: 'b' } })).toMatchObject({
      user_id: 'v',
      id: 'a',
    });
    expect(fromCloudEvent({ ...cloudEvent, subject: 'u', data: { api_key_id: 'k' } })).not.toHaveProperty(
      'user_id',
    );
  });

  it.each([
    { specversion: '0.3' },
    { specversion: 1 },
    { source: '' },
    { source: undefined },
    { data: [] },
    { data_base64: 'e30=' },
  ])('with %p is refused', (fields) => {
    expect(() => fromCloudEvent({ ...cloudEvent, ...fields })).toThrow(
      expect.objectContaining({ code: 'validation_failed' }) as Error,
    );
  });

  it.each([null, 1, 'text', [], {}, { id: 'a' }])('is not %p, which stays as it is', (sent) => {
    expect(fromCloudEvent(sent)).toBe(sent);
  });
});

describe('the identity of an event', () => {
  it('is its source and id, which do not run into each other', () => {
    expect(identityOf({ source: 'a', id: 'b' })).toEqual(identityOf({ source: 'a', id: 'b' }));
    expect(identityOf({ source: 'a', id: 'b' })).not.toEqual(identityOf({ source: 'ab', id: '' }));
    expect(identityOf({ source: '', id: 'b' })).not.toEqual(identityOf({ source: 'a', id: 'b' }));
  });

  it('goes with what it says, however that is written', () => {
    const one = event({
      user_id: 'ABCDEF00-0000-7000-8000-000000000000',
      time: '2026-11-22T05:26:00Z',
      metadata: { a: 1, b: { d: [1, 2], c: 2 } },
    });
    const same = event({
      metadata: { b: { c: 2, d: [1, 2] }, a: 1 },
      time: '2026-11-22T06:26:00.000+01:00',
      user_id: 'abcdef00-0000-7000-8000-000000000000',
      input_tokens: 0,
    });
    expect(fingerprintOf(same)).toEqual(fingerprintOf(one));
  });

  it.each([
    { operation: 'other' },
    { input_tokens: 1 },
    { output_tokens: 1 },
    { cached_tokens: 1 },
    { provider: 'p' },
    { model: 'm' },
    { end_user: 'e' },
    { metadata: {} },
    { metadata: { list: [2, 1] } },
    { time: '2026-11-22T05:26:01Z' },
    { user_id: 'u' },
    { api_key_id: 'k' },
  ])('goes with all it says: %p is something else', (fields) => {
    expect(fingerprintOf(event(fields))).not.toEqual(fingerprintOf(event({})));
  });
});
