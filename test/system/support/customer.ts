import { randomInt, randomUUID } from 'node:crypto';

/** What a customer is answered, but not what of. */
export interface Answer {
  readonly status: number;
  readonly type: string | null;
  readonly retryAfter: string | null;
  readonly body: Record<string, string | undefined>;
}

export type Request = [path: string, body: object, headers?: Record<string, string>];

/** Who signs up, logs in and makes a key, from an address of his own, which the service has to trust (`TRUST_PROXY`). */
export class Customer {
  static readonly PASSWORD = 'correct horse battery staple';
  readonly email = `customer-${randomUUID()}@example.com`;
  readonly keyName = randomUUID();
  access = '';
  refresh = '';
  private readonly address = `10.${randomInt(256)}.${randomInt(256)}.${randomInt(1, 255)}`;

  /** @returns undefined when the connection broke. */
  async ask(url: string, [path, body, headers]: Request): Promise<Answer | undefined> {
    try {
      const answer = await fetch(`${url}/api/v1${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': this.address, ...headers },
        body: JSON.stringify(body),
      });
      return {
        status: answer.status,
        type: answer.headers.get('content-type'),
        retryAfter: answer.headers.get('retry-after'),
        body: (await answer.json()) as Answer['body'],
      };
    } catch {
      return undefined;
    }
  }

  signUp(): Request {
    return ['/auth/register', { email: this.email, password: Customer.PASSWORD }];
  }

  logIn(password = Customer.PASSWORD): Request {
    return ['/auth/login', { email: this.email, password }];
  }

  refreshing(refreshToken = this.refresh): Request {
    return ['/auth/refresh', { refresh_token: refreshToken }];
  }

  /** Repeated, it is the same key. */
  makeKey(): Request {
    const headers = { authorization: `Bearer ${this.access}`, 'idempotency-key': `"${this.keyName}"` };
    return ['/auth/api-keys', { name: this.keyName }, headers];
  }

  generate(apiKey = ''): Request {
    return ['/generate', { user_id: this.email, prompt: 'hi', provider: 'echo' }, { 'x-api-key': apiKey }];
  }

  askForReset(): Request {
    return ['/auth/password/reset', { email: this.email }];
  }

  reset(token: string, password: string): Request {
    return ['/auth/password/reset/confirm', { token, new_password: password }];
  }

  /** Takes the tokens of a log-in. */
  take({ body }: Answer): void {
    this.access = body['access_token'] ?? '';
    this.refresh = body['refresh_token'] ?? '';
  }
}
