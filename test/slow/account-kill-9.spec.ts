import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../system/support/service-process';
import { ServicePair } from '../system/support/service-pair';

/** Set KILL_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['KILL_ROUNDS'] ?? '5', 10));
const CUSTOMERS = 8;
const KILL_AFTER_MS = 500;
const KILL_WITHIN_MS = 3_000;
const PASSWORD = 'correct horse battery staple';
/** A claim of a process that died is respected for so long, and some. */
const REPEATED_MS = 30_000;

jest.setTimeout(180_000 + rounds * 30_000);

interface Answer {
  readonly status: number;
  readonly body: Record<string, string>;
}

/** What a customer asks, by its name, and how often a connection broke before the answer. */
type Steps = Record<'register' | 'login' | 'create' | 'refresh' | 'reset', number>;

/** Who signs up, logs in, makes keys, refreshes and forgets his password; what is not answered he repeats elsewhere. */
class Customer {
  readonly email = `customer-${randomUUID()}@example.com`;
  readonly keys: string[] = [];
  private readonly address = `10.${randomInt(256)}.${randomInt(256)}.${randomInt(1, 255)}`;

  constructor(
    private readonly urls: readonly string[],
    private readonly lost: Steps,
  ) {}

  async live(): Promise<void> {
    const credentials = { email: this.email, password: PASSWORD };
    const registered = await this.ask('register', '/auth/register', credentials);
    // It may have been made by the request whose answer was lost.
    if (registered.status !== 200)
      expect(registered).toMatchObject({ status: 400, body: { code: 'email_taken' } });
    const { body } = await this.succeed('login', '/auth/login', credentials);
    const bearer = body['access_token'] ?? '';
    const name = randomUUID();
    const headers = { authorization: `Bearer ${bearer}`, 'idempotency-key': `"${name}"` };
    const made = await this.succeed('create', '/auth/api-keys', { name }, headers);
    this.keys.push(name);
    const refreshed = await this.succeed('refresh', '/auth/refresh', {
      refresh_token: body['refresh_token'],
    });
    expect(refreshed.body['access_token']).toBeDefined();
    const input = { user_id: 'u', prompt: 'hi', provider: 'echo' };
    const call = await this.send(this.urls[1], '/generate', input, {
      'x-api-key': made.body['api_key'] ?? '',
    });
    expect(call?.status).toBe(200);
    await this.succeed('reset', '/auth/password/reset', { email: this.email });
  }

  private async succeed(...request: Parameters<Customer['ask']>): Promise<Answer> {
    const answer = await this.ask(...request);
    expect([request[1], answer.status, answer.body['code']]).toEqual([request[1], 200, undefined]);
    return answer;
  }

  /** Asks the process that will be killed; without an answer the same of the other, until it is no longer under way. */
  private async ask(
    step: keyof Steps,
    path: string,
    body: object,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const first = await this.send(this.urls[0], path, body, headers, () => this.lost[step]++);
    if (first) return first;
    let answer: Answer | undefined;
    await until(async () => {
      answer = await this.send(this.urls[1], path, body, headers);
      return answer !== undefined && answer.status !== 409;
    }, REPEATED_MS);
    if (!answer) throw new Error('There is an answer by now.');
    return answer;
  }

  private async send(
    url = '',
    path: string,
    body: object,
    headers: Record<string, string>,
    onBroken?: () => void,
  ): Promise<Answer | undefined> {
    try {
      const answer = await fetch(`${url}/api/v1${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': this.address, ...headers },
        body: JSON.stringify(body),
      });
      return { status: answer.status, body: (await answer.json()) as Answer['body'] };
    } catch (error) {
      // Whoever is refused a connection has asked nothing.
      const { cause } = error as { cause?: { code?: string } };
      if (cause?.code !== 'ECONNREFUSED') onBroken?.();
      return undefined;
    }
  }
}

/** What must never be: each query finds the rows that are only half there. */
const halves = {
  'an account without its sign-up in the audit log': `SELECT id FROM users
    WHERE NOT EXISTS (SELECT FROM audit_events WHERE subject_id = users.id AND action = 'user.registered')`,
  'an account without the token of its verification': `SELECT id FROM users
    WHERE NOT EXISTS (SELECT FROM one_time_tokens WHERE user_id = users.id AND purpose = 'verify_email')`,
  'a key without a secret': `SELECT id FROM api_keys
    WHERE NOT EXISTS (SELECT FROM api_key_versions WHERE api_key_id = api_keys.id)`,
  'a key without its making in the audit log': `SELECT id FROM api_keys
    WHERE NOT EXISTS (SELECT FROM audit_events WHERE target_id = api_keys.id AND action = 'key.created')`,
  'a key that was made twice': 'SELECT name FROM api_keys GROUP BY name HAVING count(*) > 1',
  'a session without its log-in in the audit log': `SELECT id FROM sessions WHERE NOT EXISTS
    (SELECT FROM audit_events WHERE subject_id = sessions.user_id AND action = 'user.login')`,
};

it(`R6: after each of ${rounds} kills during sign-up, log-in, reset, making keys and refresh, the same request ends well, and nothing is half there`, async () => {
  const pair = await ServicePair.start({ TRUST_PROXY: 'loopback', PUBLIC_URL: 'http://kills.example.com' });
  const lost: Steps = { register: 0, login: 0, create: 0, refresh: 0, reset: 0 };
  const customers: Customer[] = [];
  try {
    for (let round = 1; round <= rounds; round++) {
      let killed = false;
      const oneAfterTheOther = async (): Promise<void> => {
        while (!killed) {
          const customer = new Customer(pair.urls, lost);
          customers.push(customer);
          await customer.live();
        }
      };
      const lives = Promise.all(Array.from({ length: CUSTOMERS }, oneAfterTheOther));
      await sleep(KILL_AFTER_MS + randomInt(KILL_WITHIN_MS));
      await pair.services[0]?.kill();
      killed = true;
      await lives;
      await pair.services[0]?.start();
    }
    for (const [what, sql] of Object.entries(halves)) {
      const { rows } = await pair.asOwner((db) => db.query(sql));
      expect([what, rows]).toEqual([what, []]);
    }
    const acknowledged = customers.flatMap(({ keys }) => keys);
    const { rows } = await pair.asOwner((db) =>
      db.query<{ users: string; keys: string }>(
        'SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM api_keys WHERE name = ANY($1)) AS keys',
        [acknowledged],
      ),
    );
    expect(rows).toEqual([{ users: String(customers.length), keys: String(acknowledged.length) }]);
    expect(await pair.findings()).toEqual([]);
    const answers = Object.entries(lost).map(([step, count]) => `${step} ${count}`);
    process.stdout.write(
      `R6: ${rounds} kills, ${customers.length} accounts, ${acknowledged.length} keys; broken off: ${answers.join(', ')}; all repeated well.\n`,
    );
  } finally {
    await pair.end();
  }
});
