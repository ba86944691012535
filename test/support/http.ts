import { randomInt } from 'node:crypto';
import { checkAnswer } from './openapi-checker';
import { isSearched, noteExchange } from './secret-search';

/** What a test sends. */
export interface Sent {
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as it is; set a content type beside it. */
  raw?: string | Buffer;
  /** An access token, or an API key as bearer token. */
  bearer?: string;
  /** An API key, as X-API-Key. */
  key?: string;
  headers?: Record<string, string>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed JSON, or undefined when the answer holds none. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a test reads any field and asserts on it
  readonly body: any;
}

const API_PATH = /^\/(auth|generate|keys|usage|admin|webhooks)\b/;

/**
 * A client of the service under test. Paths of the API may leave `/api/v1` out. Each client comes from an address of
 * its own, so that limits per address never join two tests. Every answer is held against the OpenAPI document.
 */
export class Http {
  constructor(
    private readonly baseUrl: string,
    readonly address = `10.${randomInt(256)}.${randomInt(256)}.${randomInt(256)}`,
  ) {}

  /** Another client, from another address. */
  from(address?: string): Http {
    return new Http(this.baseUrl, address);
  }

  get(path: string, sent?: Sent): Promise<Answer> {
    return this.send('GET', path, sent);
  }

  post(path: string, sent?: Sent): Promise<Answer> {
    return this.send('POST', path, sent);
  }

  put(path: string, sent?: Sent): Promise<Answer> {
    return this.send('PUT', path, sent);
  }

  patch(path: string, sent?: Sent): Promise<Answer> {
    return this.send('PATCH', path, sent);
  }

  delete(path: string, sent?: Sent): Promise<Answer> {
    return this.send('DELETE', path, sent);
  }

  async send(method: string, path: string, { body, raw, bearer, key, headers }: Sent = {}): Promise<Answer> {
    const url = `${this.baseUrl}${API_PATH.test(path) ? `/api/v1${path}` : path}`;
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      headers: {
        'x-forwarded-for': this.address,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
        ...(key !== undefined && { 'x-api-key': key }),
        ...headers,
      },
      ...(raw !== undefined ? { body: raw } : body !== undefined ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    const answer: Answer = {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson && text ? JSON.parse(text) : undefined,
    };
    const { pathname } = new URL(url);
    if (isSearched) noteExchange(method, pathname, body, answer);
    checkAnswer(method, pathname, answer);
    return answer;
  }
}
