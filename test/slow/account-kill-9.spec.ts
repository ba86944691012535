import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { SmtpServer } from '../support/smtp-server';
import { type Answer, Customer, type Request } from '../system/support/customer';
import { halfDone } from '../system/support/half-done';
import { ServicePair } from '../system/support/service-pair';
import { until } from '../system/support/service-process';

/** How many kills shall find requests under way, the kinds in turn; set KILL_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['KILL_ROUNDS'] ?? '6', 10));
/** Of one kind at once. */
const CUSTOMERS = 8;
const NEW_PASSWORD = 'the next passphrase of all';
/** Mail that a dying process was about to send is sent by another one within two minutes. */
const MAIL_LIMIT_MS = 180_000;
/** Before the first answer. */
const KILL_DELAY_MS_MAX = 200;

jest.setTimeout(180_000 + rounds * 30_000);

const smtp = new SmtpServer();
let pair: ServicePair;

beforeAll(async () => {
  await smtp.start();
  pair = await ServicePair.start({
    TRUST_PROXY: 'loopback',
    PUBLIC_URL: 'http://kills.example.com',
    SMTP_URL: smtp.url,
    MAIL_FROM: 'Kills <kills@example.com>',
  });
});

afterAll(async () => {
  await pair.end();
  await smtp.stop();
});

/** Asks the process that lives. */
async function ask(customer: Customer, request: Request): Promise<Answer> {
  const answer = await customer.ask(pair.urls[1] ?? '', request);
  if (!answer) throw new Error('The process that lives has not answered.');
  return answer;
}

async function succeed(customer: Customer, request: Request): Promise<Answer> {
  const answer = await ask(customer, request);
  expect([request[0], answer]).toEqual([request[0], expect.objectContaining({ status: 200 })]);
  return answer;
}

function subjectsTo({ email }: Customer): (string | undefined)[] {
  return smtp.to(email).map(({ parsed }) => parsed.subject);
}

/** The token of the mailed link that sets a password, once it is there. */
async function resetToken({ email }: Customer): Promise<string> {
  let token: string | undefined;
  await until(() => {
    const texts = smtp.to(email).map(({ parsed }) => parsed.text ?? '');
    [token] = texts.flatMap((text) => /\/reset-password#token=([\w-]+)/.exec(text)?.[1] ?? []);
    return token !== undefined;
  }, MAIL_LIMIT_MS);
  return token ?? '';
}

/** What is asked while the process dies, how its repetition elsewhere must end, and what is mailed in the end. */
interface Kind {
  readonly name: string;
  prepare(customer: Customer): Promise<Request>;
  endsWell(customer: Customer, repeated: Answer): Promise<void>;
  readonly mailed: string;
}

const kinds: Kind[] = [
  {
    name: 'sign-up',
    prepare: (customer) => Promise.resolve(customer.signUp()),
    endsWell: async (customer, { status, body }) => {
      // The account may have been made by the request whose answer was lost.
      if (status !== 200) expect([status, body['code']]).toEqual([400, 'email_taken']);
      await succeed(customer, customer.logIn());
    },
    mailed: 'Verify your e-mail address',
  },
  {
    name: 'log-in',
    prepare: async (customer) => {
      await succeed(customer, customer.signUp());
      return customer.logIn();
    },
    endsWell: async (customer, { status, body }) => {
      expect(status).toBe(200);
      await succeed(customer, customer.refreshing(body['refresh_token']));
    },
    mailed: 'Verify your e-mail address',
  },
  {
    name: 'making a key',
    prepare: async (customer) => {
      await succeed(customer, customer.signUp());
      customer.take(await succeed(customer, customer.logIn()));
      // Of its keys an address hears once it is proven.
      const prove = 'UPDATE users SET is_verified = true WHERE email = $1';
      await pair.asOwner((db) => db.query(prove, [customer.email]));
      return customer.makeKey();
    },
    endsWell: async (customer, { status, body }) => {
      expect(status).toBe(200);
      await succeed(customer, customer.generate(body['api_key']));
    },
    mailed: 'An API key was made',
  },
  {
    name: 'refresh',
    prepare: async (customer) => {
      await succeed(customer, customer.signUp());
      customer.take(await succeed(customer, customer.logIn()));
      return customer.refreshing();
    },
    endsWell: async (customer, { status, body }) => {
      expect(status).toBe(200);
      await succeed(customer, customer.refreshing(body['refresh_token']));
    },
    mailed: 'Verify your e-mail address',
  },
  {
    name: 'asking for a reset',
    prepare: async (customer) => {
      await succeed(customer, customer.signUp());
      return customer.askForReset();
    },
    endsWell: async (customer, { status }) => {
      expect(status).toBe(200);
      await succeed(customer, customer.logIn());
    },
    mailed: 'Choose a new password',
  },
  {
    name: 'reset',
    prepare: async (customer) => {
      await succeed(customer, customer.signUp());
      await succeed(customer, customer.askForReset());
      return customer.reset(await resetToken(customer), NEW_PASSWORD);
    },
    endsWell: async (customer, { status, body }) => {
      // The link may have been used up, but only together with what it is for.
      if (status !== 200) expect([status, body['code']]).toEqual([400, 'invalid_reset_token']);
      await succeed(customer, customer.logIn(NEW_PASSWORD));
    },
    mailed: 'Your password was changed',
  },
];

/** The kills of one kind. */
class Kills {
  readonly customers: Customer[] = [];
  /** What goes on at the process that lives, while the other one starts and is killed again. */
  readonly repeating: Promise<void>[] = [];
  count = 0;
  private broken = 0;
  private readonly repeated = new Map<number, number>();
  constructor(readonly kind: Kind) {}

  /** Kills a process at a random moment while many ask the same of it. @returns whether it left any without an answer. */
  async killOnce(): Promise<boolean> {
    const { kind } = this;
    const customers = Array.from({ length: CUSTOMERS }, () => new Customer());
    const prepared = await Promise.all(
      customers.map(async (customer) => ({ customer, request: await kind.prepare(customer) })),
    );
    const [dies] = pair.services;
    if (!dies?.isRunning) await dies?.start();
    // At an answer the others are in the middle of their statements, however fast the machine is.
    let untilKill = randomInt(CUSTOMERS);
    const enough = Promise.withResolvers<unknown>();
    if (untilKill === 0) enough.resolve(sleep(randomInt(KILL_DELAY_MS_MAX)));
    const asked = prepared.map(async (one) => {
      const answer = await one.customer.ask(dies?.url ?? '', one.request);
      if (--untilKill === 0) enough.resolve(undefined);
      return { ...one, answer };
    });
    await enough.promise;
    await dies?.kill();
    const outcomes = await Promise.all(asked);

    expect(outcomes.filter(({ answer }) => answer && answer.status !== 200)).toEqual([]);
    const broken = outcomes.filter(({ answer }) => !answer);
    for (const { customer, request } of broken) {
      const repeating = this.repeat(customer, request);
      // It is looked at in the end.
      repeating.catch(() => undefined);
      this.repeating.push(repeating);
    }
    this.customers.push(...customers);
    this.broken += broken.length;
    if (broken.length > 0) this.count++;
    return broken.length > 0;
  }

  toString(): string {
    const repeated = [...this.repeated].map(([status, count]) => `${count} with ${status}`).join(', ');
    const { name } = this.kind;
    return `${name}: ${this.count} kills, ${this.broken} of ${this.customers.length} broken off, repeated ${repeated}`;
  }

  private async repeat(customer: Customer, request: Request): Promise<void> {
    let answer = await ask(customer, request);
    // The claim of a request with an Idempotency-Key may outlive its process for some seconds.
    for (; answer.status === 409; answer = await ask(customer, request))
      await sleep(Number(answer.retryAfter) * 1_000);
    this.repeated.set(answer.status, (this.repeated.get(answer.status) ?? 0) + 1);
    await this.kind.endsWell(customer, answer);
  }
}

/** What dead processes were about to do is taken up again when it is overdue: here now. */
async function letJobsEnd(): Promise<void> {
  await pair.asOwner(async (db) => {
    await db.query(`UPDATE pgboss.job SET state = 'retry', start_after = now() WHERE state = 'active'`);
    const isDone = async (): Promise<boolean> => {
      const { rowCount } = await db.query(
        `SELECT FROM pgboss.job WHERE name IN ('mail', 'password_reset') AND state < 'completed' LIMIT 1`,
      );
      return rowCount === 0;
    };
    await until(isDone, MAIL_LIMIT_MS);
  });
}

it(`R6: after each of ${rounds} kills during sign-up, log-in, making keys, refresh and reset, the same request ends well, and nothing is half there`, async () => {
  const all = kinds.map((kind) => new Kills(kind));
  for (let round = 0; round < rounds; round++) {
    const kills = all[round % all.length];
    while (!(await kills?.killOnce()));
  }
  await Promise.all(all.flatMap(({ repeating }) => repeating));
  await pair.services[0]?.start();

  expect(await pair.asOwner(halfDone)).toEqual([]);
  const { rows } = await pair.asOwner((db) => db.query('SELECT count(*)::int AS users FROM users'));
  expect(rows).toEqual([{ users: all.reduce((sum, { customers }) => sum + customers.length, 0) }]);
  expect(await pair.findings()).toEqual([]);
  await letJobsEnd();
  for (const { kind, customers } of all) {
    const unmailed = customers.filter((customer) => !subjectsTo(customer).includes(kind.mailed));
    expect([kind.name, unmailed]).toEqual([kind.name, []]);
  }
  process.stdout.write(`R6:\n${all.join('\n')}\n`);
});
