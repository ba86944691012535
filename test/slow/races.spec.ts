import { randomBytes, randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { openEmbeddedPostgres, type VisitedPostgres } from '../../src/platform/database/embedded-postgres';
import { SmtpServer } from '../support/smtp-server';
import { buildService, freePort, ServiceProcess, until } from '../system/support/service-process';

/** Set RACE_ROUNDS for more than the default. */
const rounds = Math.max(1, Number.parseInt(process.env['RACE_ROUNDS'] ?? '2', 10));
const ROUNDS = Array.from({ length: rounds }, (_, round) => round + 1);
const AT_ONCE = 50;
const LIMIT_MS = 60_000;
/** It may have to build the service first. */
const START_LIMIT_MS = 180_000;
const PASSWORD = 'correct horse battery';

jest.setTimeout(LIMIT_MS);

interface Answer {
  readonly status: number;
  readonly body: Record<string, string | undefined>;
}

/** Two processes of the built service on one database, raced against each other. */
describe('over two processes', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-races-'));
  const smtp = new SmtpServer();
  let services: ServiceProcess[];
  let postgres: VisitedPostgres;
  let db: Client;

  beforeAll(async () => {
    chmodSync(directory, 0o755);
    buildService();
    await smtp.start();
    const settings = {
      JWT_SECRET_KEY: randomBytes(48).toString('base64'),
      SECRET_KEY: randomBytes(48).toString('base64'),
      SMTP_URL: smtp.url,
      MAIL_FROM: 'Races <races@example.com>',
      // Each request of the races comes from an address of its own.
      TRUST_PROXY: 'loopback',
      SIGNUP_ENUMERATION_SAFE: 'true',
      // What one of them issues, the other one must take.
      PUBLIC_URL: 'http://races.example.com',
    };
    const first = new ServiceProcess(directory, await freePort(), settings);
    await first.start();
    postgres = await openEmbeddedPostgres(directory);
    const second = new ServiceProcess(directory, await freePort(), {
      ...settings,
      DATABASE_URL: postgres.url,
    });
    await second.start();
    services = [first, second];
    db = new Client({ connectionString: postgres.url });
    await db.connect();
    // A race on a cold pool proves nothing: who comes first waits for his connection.
    await race((url) => fetch(`${url}/health`).then((answer) => answer.text()));
  }, START_LIMIT_MS);

  afterAll(async () => {
    await db.end();
    await services[1]?.kill();
    await postgres.close();
    await services[0]?.end();
    await smtp.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Does the same many times at once, by turns at the one process and the other. */
  function race<Result>(
    work: (url: string, index: number) => Promise<Result>,
    width = AT_ONCE,
  ): Promise<Result[]> {
    const url = (index: number): string => services[index % services.length]?.url ?? '';
    return Promise.all(Array.from({ length: width }, (_, index) => work(url(index), index)));
  }

  async function call(
    url: string,
    method: string,
    path: string,
    body?: object,
    bearer?: string,
  ): Promise<Answer> {
    const response = await fetch(`${url}/api/v1/auth/${path}`, {
      method,
      headers: {
        'x-forwarded-for': [10, randomInt(256), randomInt(256), randomInt(256)].join('.'),
        ...(body && { 'content-type': 'application/json' }),
        ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Answer['body'] };
  }

  /** The token of the mail with such a link to an address, once it is there. */
  async function mailedToken(address: string, page: string): Promise<string> {
    const pattern = new RegExp(`/${page}#token=([\\w-]+)`);
    let token: string | undefined;
    await until(() => {
      const texts = smtp.to(address).map(({ parsed }) => parsed.text ?? '');
      token = texts.map((text) => pattern.exec(text)?.[1]).find((found) => found !== undefined);
      return token !== undefined;
    }, LIMIT_MS);
    return token ?? '';
  }

  const winners = (answers: readonly Answer[]): number[] =>
    answers.flatMap(({ status }, index) => (status === 200 ? [index] : []));

  it.each(ROUNDS)(
    'T4, R16, R20: of fifty at once one wins, at an address, a verify token and a reset token; round %i',
    async (round) => {
      const name = `race-${round}-${randomBytes(4).toString('hex')}`;
      const email = `${name}@example.com`;
      const spellings = [
        email,
        email.toUpperCase(),
        ` ${email}`,
        `${email} `,
        `${name}@EXAMPLE.com`,
        `${name.toUpperCase()}@example.com`,
        `${name}@\uFF45xample.com`,
        email.replace('r', '\uFF52'),
      ];

      const signedUp = await race((url, index) =>
        call(url, 'POST', 'register', { email: spellings[index % spellings.length], password: PASSWORD }),
      );
      expect(new Set(signedUp.map(({ status }) => status))).toEqual(new Set([200]));
      expect(new Set(signedUp.map(({ body }) => Object.keys(body).join())).size).toBe(1);
      const { rows } = await db.query<{ id: string }>('SELECT id FROM users WHERE email = $1', [email]);
      expect(rows).toHaveLength(1);
      expect(signedUp.filter(({ body }) => body['id'] === rows[0]?.id)).toHaveLength(1);

      const token = await mailedToken(email, 'verify-email');
      const verified = await race((url) => call(url, 'POST', 'verify-email', { token }));
      expect(winners(verified)).toHaveLength(1);

      await call(services[0]?.url ?? '', 'POST', 'password/reset', { email });
      const reset = await mailedToken(email, 'reset-password');
      const wanted = (index: number): string => `the new passphrase ${index}`;
      const confirmed = await race((url, index) =>
        call(url, 'POST', 'password/reset/confirm', { token: reset, new_password: wanted(index) }),
      );
      expect(winners(confirmed)).toHaveLength(1);
      const password = wanted(winners(confirmed)[0] ?? -1);
      const logins = await race((url) => call(url, 'POST', 'login', { email, password }), 20);
      expect(winners(logins)).toHaveLength(20);
      const verifications = smtp.to(email).filter(({ raw }) => /verify-email#token/.test(raw));
      expect(verifications).toHaveLength(1);
    },
  );

  /** A new account that is logged in; its password is {@link PASSWORD}. */
  async function logIn(): Promise<{ email: string; access: string; refresh: string }> {
    const email = `race-${randomBytes(6).toString('hex')}@example.com`;
    const url = services[0]?.url ?? '';
    await call(url, 'POST', 'register', { email, password: PASSWORD });
    const { body } = await call(url, 'POST', 'login', { email, password: PASSWORD });
    return { email, access: String(body['access_token']), refresh: String(body['refresh_token']) };
  }

  it.each(ROUNDS)(
    'T5, T7, R18: fifty refreshes with one token give one successor, and none survives a log-out beside them; round %i',
    async () => {
      const { access, refresh } = await logIn();
      const refreshed = await race((url) => call(url, 'POST', 'refresh', { refresh_token: refresh }));
      expect(winners(refreshed)).toHaveLength(AT_ONCE);
      const successors = [...new Set(refreshed.map(({ body }) => String(body['refresh_token'])))];
      expect(successors).toHaveLength(1);

      const beside = await race((url, index) =>
        index === AT_ONCE / 2
          ? call(url, 'POST', 'logout', undefined, access)
          : call(url, 'POST', 'refresh', { refresh_token: successors[0] }),
      );
      expect(beside[AT_ONCE / 2]?.status).toBe(200);
      const tokens = beside.flatMap(({ body }) => body['refresh_token'] ?? []);
      for (const token of new Set([...successors, ...tokens])) {
        const after = await race((url) => call(url, 'POST', 'refresh', { refresh_token: token }), 2);
        expect(after.map(({ status }) => status)).toEqual([401, 401]);
      }
      const accessTokens = [
        access,
        ...[...refreshed, ...beside].flatMap(({ body }) => body['access_token'] ?? []),
      ];
      await until(async () => {
        const seen = await race(
          (url, index) => call(url, 'GET', 'me', undefined, accessTokens[index]),
          accessTokens.length,
        );
        return seen.every(({ status }) => status === 401);
      }, LIMIT_MS);
    },
  );

  it('T11, T12, T13: of a hundred wrong passwords at once twenty are compared at most, and a reset lets the owner in', async () => {
    const { email } = await logIn();
    const guesses = await race(
      (url, index) => call(url, 'POST', 'login', { email, password: `wrong ${index}` }),
      100,
    );
    expect(new Set(guesses.map(({ status }) => status))).toEqual(new Set([401]));
    const { rows } = await db.query<{ taken: number }>('SELECT max(taken)::int AS taken FROM attempt_counts');
    expect(rows[0]?.taken).toBe(20);
    const locked = await race((url) => call(url, 'POST', 'login', { email, password: PASSWORD }), 2);
    expect(locked.map(({ status }) => status)).toEqual([401, 401]);

    await call(services[1]?.url ?? '', 'POST', 'password/reset', { email });
    const token = await mailedToken(email, 'reset-password');
    await call(services[0]?.url ?? '', 'POST', 'password/reset/confirm', {
      token,
      new_password: `${PASSWORD} 2`,
    });
    const after = await race((url) => call(url, 'POST', 'login', { email, password: `${PASSWORD} 2` }), 2);
    expect(winners(after)).toHaveLength(2);
  });

  it('T6: an exchanged refresh token stays used after a restart between exchange and replay', async () => {
    const { refresh } = await logIn();
    const [, second] = services;
    const exchange = (token: string): Promise<Answer> =>
      call(second?.url ?? '', 'POST', 'refresh', { refresh_token: token });
    const next = String((await exchange(refresh)).body['refresh_token']);
    const last = String((await exchange(next)).body['refresh_token']);
    await second?.kill();
    await second?.start();
    expect((await exchange(refresh)).status).toBe(401);
    expect((await exchange(last)).status).toBe(401);
  });
});
