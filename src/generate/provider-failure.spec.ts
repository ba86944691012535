import { providerFailure } from './provider-failure';

const access = { apiKey: 'key-0123456789', baseURL: 'https://user:password@gateway.example/v1' };
const failure = (fields: object, message = 'upstream') =>
  providerFailure('openai', access, Object.assign(new Error(message), fields));
const causeOf = (code: string) => ({ cause: Object.assign(new Error('inner'), { code }) });

describe('provider failure', () => {
  it.each(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'])(
    'takes %s, a limit of fetch itself, for a timeout',
    (code) => {
      expect(failure(causeOf(code)).code).toBe('provider_timeout');
    },
  );

  it.each([404, 413, 422])('takes a readable %i for bad input', (statusCode) => {
    expect(failure({ statusCode, responseBody: '{"error":{}}' }).code).toBe('provider_rejected');
  });

  it.each([
    [404, '<html>nginx</html>'],
    [400, '{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}'],
    [400, '{"error":{"status":"FAILED_PRECONDITION"}}'],
    [400, '{"error":{"message":"Your credit balance is too low"}}'],
    [402, '{}'],
    [403, '{}'],
    [529, '{}'],
  ])(
    'takes a %i that the caller cannot cure for a failure of the provider: %s',
    (statusCode, responseBody) => {
      expect(failure({ statusCode, responseBody }).code).toBe('provider_error');
    },
  );

  it.each([
    [{ 'retry-after': '30' }, '', 30],
    [{ 'retry-after': '0.4' }, '', 1],
    [{ 'retry-after': 'Tue, 06 Oct 2026 10:00:30 GMT', date: 'Tue, 06 Oct 2026 10:00:00 GMT' }, '', 30],
    [{}, '{"error":{"details":[{"retryDelay":"26.3s"}]}}', 27],
    [{ 'retry-after': 'Tue, 06 Oct 2026 10:00:30 GMT' }, '', undefined],
    [{ 'retry-after': 'soon' }, '', undefined],
    [{ 'retry-after': '-1' }, '', undefined],
    [{ 'retry-after': '1e300' }, '', undefined],
    [{}, '', undefined],
  ])('reads the waiting time from %j %s', (responseHeaders, responseBody, seconds) => {
    expect(failure({ statusCode: 429, responseHeaders, responseBody }).retryAfterSeconds).toBe(seconds);
  });

  it('keeps keys and passwords out of the cause, and shortens it', () => {
    const message = `wrong key-0123456789 at ${access.baseURL} ${'x'.repeat(1000)}`;

    const cause = failure({ statusCode: 401 }, message).cause as Error;

    expect(cause.message).toMatch(/^status 401: wrong \[key\] at https:\/\/gateway\.example\/v1 x+$/);
    expect(cause.message.length).toBeLessThan(320);
  });

  it('makes an error of anything thrown', () => {
    expect(providerFailure('openai', access, null).code).toBe('provider_error');
    expect(providerFailure('openai', access, 'text').code).toBe('provider_error');
  });
});
