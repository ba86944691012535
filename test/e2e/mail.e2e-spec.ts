import { OneTimeTokens } from '../../src/auth/one-time-tokens';
import { Mailer } from '../../src/platform/mail/mailer';
import { layOut } from '../../src/platform/mail/mail-layout';
import { copyDatabase } from '../support/database';
import { jobTables, makeJobsDue } from '../support/jobs';
import { SmtpServer } from '../support/smtp-server';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

const PASSWORD = 'a long enough one';

describe('mail', () => {
  const smtp = new SmtpServer();
  let t: TestApp;
  /** What a test began and may not have come to end. */
  const endings: (() => Promise<void>)[] = [];
  const start = (databaseUrl?: string): Promise<TestApp> =>
    startTestApp({
      settings: {
        SMTP_URL: smtp.url,
        MAIL_FROM: 'Cortex Auth <auth@mail.example.com>',
        PUBLIC_URL: 'https://api.example.com',
        SERVICE_NAME: 'Acme',
      },
      ...(databaseUrl !== undefined && { databaseUrl }),
    });
  const startAnother = async (databaseUrl: string): Promise<TestApp> => {
    const another = await start(databaseUrl);
    endings.unshift(() => another.close());
    return another;
  };
  const makeDatabase = async (): Promise<string> => {
    const database = await copyDatabase();
    endings.unshift(() => database.drop());
    return database.url;
  };
  const register = async (app: TestApp = t): Promise<string> => {
    const email = app.make.email();
    const { status } = await app.http.from().post('/auth/register', { body: { email, password: PASSWORD } });
    expect(status).toBe(200);
    return email;
  };

  beforeAll(async () => {
    await smtp.start();
    t = await start();
  });
  beforeEach(async () => {
    smtp.refuse = () => undefined;
    await smtp.stop();
    await smtp.start();
  });
  afterEach(async () => {
    for (const end of endings.splice(0)) await end();
  });
  afterAll(async () => {
    await t.close();
    await smtp.stop();
  });

  it('calls the service by its name, as authenticator apps do', async () => {
    const user = await t.make.user();
    const { body } = await t.http.post('/auth/2fa/setup', { bearer: user.token });
    const url = new URL(String(body.otpauth_url));
    expect(url.searchParams.get('issuer')).toBe('Acme');
    expect(decodeURIComponent(url.pathname)).toContain(`Acme:${user.email}`);
    const email = await register();
    await t.settled();
    expect(smtp.to(email)[0]?.parsed.text).toContain('Welcome to Acme.');
  });

  it('arrives over SMTP with one recipient, its headers, and two parts that hold the same link', async () => {
    const email = await register();
    await t.settled();

    const [mail, ...others] = smtp.to(email);
    expect(others).toEqual([]);
    expect(mail).toMatchObject({
      from: 'auth@mail.example.com',
      recipients: [email],
      parsed: {
        from: { name: 'Cortex Auth', address: 'auth@mail.example.com' },
        to: [{ name: '', address: email }],
        subject: 'Verify your e-mail address',
        messageId: expect.stringMatching(/^<[0-9a-f-]{36}@mail\.example\.com>$/),
      },
    });
    const [link] =
      /^https:\/\/api\.example\.com\/verify-email#token=[\w-]{64}$/m.exec(mail?.parsed.text ?? '') ?? [];
    expect(link).toBeDefined();
    expect(mail?.parsed.html).toContain(`href="${link}"`);
    expect(mail?.parsed.html).toContain('color-scheme');
    expect(mail?.parsed.html).not.toMatch(/<img|<script|https?:\/\/(?!api\.example\.com)/);

    const token = link?.split('token=')[1];
    expect((await t.http.post('/auth/verify-email', { body: { token } })).status).toBe(200);
  });

  it('gets no header and no recipient from a line break in a name or a subject', async () => {
    const name = 'Eve\r\nBcc: victim@example.com\r\n\r\nHello';
    const to = t.make.email();
    t.app
      .get(Mailer)
      .define('line_break', () => Promise.resolve(layOut({ to, subject: `Hello ${name}`, before: [name] })));
    await t.app.get(Mailer).send('line_break', {}, t.db);
    await t.settled();

    const [mail] = smtp.to(to);
    expect(mail?.recipients).toEqual([to]);
    expect(mail?.parsed.headers.map(({ key }) => key)).not.toContain('bcc');
    expect(mail?.parsed.subject).toBe('Hello Eve Bcc: victim@example.com  Hello');
  });

  it('is sent again when the server refuses it, and neither log nor table keeps what the server said', async () => {
    let refusals = 2;
    const quotes: string[] = [];
    smtp.refuse = ({ recipients, parsed }) => {
      if (refusals-- <= 0) return undefined;
      quotes.push(...recipients, /#token=([\w-]+)/.exec(parsed.text ?? '')?.[1] ?? '');
      return `4.7.1 <${recipients.join()}> is not liked, nor is ${parsed.text ?? ''}`;
    };
    const email = await register();
    for (let round = 0; round < 2; round++) {
      await t.settled();
      expect(smtp.to(email)).toEqual([]);
      const tables = await jobTables(t.db);
      for (const quote of quotes) expect(tables).not.toContain(quote);
      await makeJobsDue(t.db);
    }
    await t.settled();

    expect(smtp.to(email)).toHaveLength(1);
    const log = t.logLines.join('\n');
    expect(quotes).toHaveLength(4);
    for (const quote of quotes) {
      expect(quote.length).toBeGreaterThan(10);
      expect(log).not.toContain(quote);
    }
    expect(log).toContain('the mail server answered 451 4.7.1 to DATA');
  });

  it('that is sent twice after a crash carries the same Message-ID', async () => {
    const email = await register();
    await t.settled();
    // As if the process had died between the server's answer and the end of the job.
    const sql = `UPDATE pgboss.job SET state = 'retry', completed_on = NULL, start_after = now() WHERE id = $1`;
    await t.db.query(sql, [smtp.to(email)[0]?.parsed.messageId?.slice(1, 37)]);
    await t.settled();

    const ids = smtp.to(email).map(({ parsed }) => parsed.messageId);
    expect(ids).toEqual([ids[0], ids[0]]);
  });

  it('waits for a server that is down all along, also across a restart; sign-up answers 200, and each mail arrives once when the server is back', async () => {
    const databaseUrl = await makeDatabase();
    const first = await startAnother(databaseUrl);
    await smtp.stop();
    const emails = [await register(first), await register(first)];
    await first.settled();
    expect(first.logLines.filter((line) => line.includes('ECONNREFUSED'))).toHaveLength(2);
    const tables = await jobTables(first.db);
    expect(tables).toContain('verify_email');
    for (const email of emails) expect(tables).not.toContain(email);
    await first.close();

    const second = await startAnother(databaseUrl);
    await smtp.start();
    await makeJobsDue(second.db);
    await second.settled();
    for (const email of emails) expect(smtp.to(email)).toHaveLength(1);
  });

  it('with a link that lives fifteen minutes gives all of them, however long the server was down', async () => {
    const email = await register();
    await t.settled();
    smtp.refuse = () => '4.3.0 not now';
    await t.http.from().post('/auth/password/reset', { body: { email } });
    await t.settled();
    expect(smtp.to(email)).toHaveLength(1);

    smtp.refuse = () => undefined;
    t.clock.advance(60 * 60_000);
    await makeJobsDue(t.db);
    await t.settled();
    const token = /#token=([\w-]+)/.exec(smtp.to(email)[1]?.parsed.text ?? '')?.[1];
    t.clock.advance(14 * 60_000);
    const confirmed = await t.http
      .from()
      .post('/auth/password/reset/confirm', { body: { token, new_password: 'an entirely new one' } });
    expect(confirmed.status).toBe(200);
    t.clock.reset();
  });

  it('under way is taken, and its job ended, before the service closes its database', async () => {
    const databaseUrl = await makeDatabase();
    const service = await startAnother(databaseUrl);
    const begun = Promise.withResolvers<undefined>();
    const answer = Promise.withResolvers<undefined>();
    smtp.refuse = () => {
      begun.resolve(undefined);
      return answer.promise;
    };
    const email = await register(service);
    await begun.promise;
    const closed = service.close();
    answer.resolve(undefined);
    await closed;

    expect(smtp.to(email)).toHaveLength(1);
    expect(service.logLines.filter((line) => line.includes('"level":"error"'))).toEqual([]);
    const next = await startAnother(databaseUrl);
    expect(await next.db.query(`SELECT state FROM pgboss.job`)).toEqual([{ state: 'completed' }]);
  });

  it('is not sent by a transaction that is rolled back, nor for a token that was replaced', async () => {
    const to = t.make.email();
    const mailer = t.app.get(Mailer);
    mailer.define('rolled_back', () => Promise.resolve(layOut({ to, subject: 'Never', before: [] })));
    const rolledBack = t.db.transaction(async (tx) => {
      await mailer.send('rolled_back', {}, tx);
      throw new Error('no');
    });
    await expect(rolledBack).rejects.toThrow('no');

    const { id } = await t.make.user();
    const tokens = t.app.get(OneTimeTokens, { strict: false });
    const replaced = await tokens.issue(id, 'verify_email');
    await tokens.issue(id, 'verify_email');
    await mailer.send('verify_email', { tokenId: replaced }, t.db);
    await t.settled();

    expect(smtp.to(to)).toEqual([]);
    expect(t.logLines.filter((line) => line.includes('not needed any more'))).toHaveLength(1);
  });

  itAlone('own-second')('is sent once by two applications on one database', async () => {
    const other = await startAnother(t.databaseUrl);
    const to = t.make.email();
    for (const { app } of [t, other]) {
      app
        .get(Mailer)
        .define('numbered', ({ n }: { n: string }) =>
          Promise.resolve(layOut({ to, subject: n, before: [] })),
        );
    }
    const numbers = Array.from({ length: 100 }, (_, i) => String(i));
    await Promise.all(
      numbers.map((n, i) => {
        const { app, db } = i % 2 ? t : other;
        return db.transaction((tx) => app.get(Mailer).send('numbered', { n }, tx));
      }),
    );
    await t.settled();

    const subjects = smtp.to(to).map(({ parsed }) => Number(parsed.subject));
    expect(subjects.sort((a, b) => a - b)).toEqual(numbers.map(Number));
    const sentBy = (app: TestApp): number =>
      app.logLines.filter((line) => line.includes('"numbered"')).length;
    expect(sentBy(t)).toBeGreaterThan(0);
    expect(sentBy(other)).toBeGreaterThan(0);
  });
});
