import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { migrations } from '../../migrations';
import { openEmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/database/embedded-postgres';
import { call, generate, logIn, signUp } from './support/npm-caller';
import { type Ended, endAllIn, NpmService, processesOf, root, run } from './support/npm-service';
import { buildService, freePort, until } from './support/service-process';

const isLinux = process.platform === 'linux';
const LIMIT_MS = 120_000;

jest.setTimeout(LIMIT_MS);

/** Everything of one run stands here; each test has folders of its own, but for `shared`. */
const base = mkdtempSync(join(tmpdir(), 'cortex-auth-start-'));
const shared = { DATA_DIR: join(base, 'shared') };
let service: NpmService;

beforeAll(async () => {
  chmodSync(base, 0o755);
  buildService();
  service = await NpmService.start(shared);
}, LIMIT_MS);

afterAll(() => endAllIn(base));

describe('npm start', () => {
  it('ends with Ctrl-C leaving no process; the next start has the users, their usage, and the tier that was set in between', async () => {
    const data = { DATA_DIR: join(base, 'twice') };
    const first = await NpmService.start(data);
    const { token, apiKey } = await signUp(first, 'twice@example.com');
    await generate(first, apiKey);
    if (isLinux) expect(processesOf(data.DATA_DIR).join('\n')).toMatch(/bin\/postgres -D/);

    const ended = await first.interrupt();

    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.stderr).not.toMatch(/error/i);
    if (isLinux) expect(processesOf(data.DATA_DIR)).toEqual([]);

    const set = await admin(data, 'tier', 'twice@example.com', 'enterprise');
    expect(set).toMatchObject({ code: 0, stdout: 'tier of twice@example.com is now enterprise\n' });
    if (isLinux) expect(processesOf(data.DATA_DIR)).toEqual([]);

    const second = await NpmService.start(data);
    expect(await call(second, 'GET', 'auth/me', token)).toMatchObject({ subscription_tier: 'enterprise' });
    expect(await call(second, 'GET', 'auth/usage/stats', token)).toMatchObject({ total_requests: 1 });
    expect(await logIn(second, 'twice@example.com')).toMatchObject({ user: { email: 'twice@example.com' } });
    await generate(second, apiKey);
    expect(await call(second, 'GET', 'auth/usage/stats', token)).toMatchObject({ total_requests: 2 });
    expect(await second.interrupt('SIGTERM')).toMatchObject({ code: 0, signal: null });
    if (isLinux) expect(processesOf(data.DATA_DIR)).toEqual([]);
  });

  it('ends with Ctrl-C in the middle of a start, leaving no process', async () => {
    const data = { DATA_DIR: join(base, 'early') };
    const starting = NpmService.launch(data);
    // Written when PostgreSQL begins to start, long before it is ready.
    await until(() => existsSync(join(data.DATA_DIR, 'cluster', 'data', 'postmaster.pid')), LIMIT_MS);

    expect(await starting.interrupt()).toMatchObject({ code: 0, signal: null });
    if (isLinux) expect(processesOf(data.DATA_DIR)).toEqual([]);
  });

  it('refuses a data directory that a running service has, which goes on', async () => {
    const ended = await run(['npm', 'start'], { PORT: '0', ...shared });

    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(
      /The embedded database in .*shared is in use by cortex-auth \(process \d+\)\. Stop that one first/,
    );
    expect(ended.stderr).not.toMatch(/^\s+at /m);
    expect((await fetch(`${service.url}/health/ready`)).status).toBe(200);
  });

  it('says in the terminal where the service, its docs and the mailbox are', async () => {
    for (const path of ['', '/docs', '/dev/mailbox']) {
      expect(service.output).toMatch(new RegExp(` ${service.url}${path}\n`));
      expect((await fetch(service.url + path)).status).toBe(200);
    }
  });
});

describe('NODE_ENV=production npm start', () => {
  const required = [
    'DATABASE_URL or POSTGRES_URL',
    'JWT_SECRET_KEY or JWT_SIGNING_KEYS',
    'SECRET_KEY',
    'PUBLIC_URL',
    'SMTP_URL',
    'MAIL_FROM',
  ];

  it('names everything that is missing in one message, and ends with code 1', async () => {
    const data = { DATA_DIR: join(base, 'production') };
    const ended = await run(['npm', 'start'], { NODE_ENV: 'production', PORT: '0', ...data });

    expect(ended.code).toBe(1);
    expect(configurationFaults(ended)).toEqual(required.map((name) => `${name} is required in production.`));
    expect(existsSync(data.DATA_DIR)).toBe(false);
  });

  it('refuses sample secrets and unsafe addresses, and prints none of the values', async () => {
    const values = {
      DATABASE_URL: 'postgres://cortex:database-password@db.internal.example/cortex',
      JWT_SECRET_KEY: 'your-secret-key-here',
      SECRET_KEY: 'your-secret-key-here',
      PUBLIC_URL: 'http://auth.customer.example',
      SMTP_URL: 'smtp://mailer:mail-password@mail.internal.example',
      MAIL_FROM: 'no-reply@customer.example',
      ALLOWED_ORIGINS: '*',
      PORT: '99999',
      GEMINI_BASE_URL: 'ftp://gateway.internal.example',
    };
    const ended = await run(['npm', 'start'], { NODE_ENV: 'production', ...values });

    expect(ended.code).toBe(1);
    expect(configurationFaults(ended)).toEqual([
      expect.stringMatching(/^PORT must be/),
      expect.stringMatching(/^GEMINI_BASE_URL must be/),
      expect.stringMatching(/^JWT_SECRET_KEY is too weak/),
      expect.stringMatching(/^SECRET_KEY is too weak/),
      'JWT_SECRET_KEY and SECRET_KEY must differ.',
      expect.stringMatching(/^PUBLIC_URL must begin with https/),
      expect.stringMatching(/^ALLOWED_ORIGINS must name/),
    ]);
    const said = ended.stdout + ended.stderr;
    const parts = Object.values(values).filter((value) => value !== '*');
    for (const value of [...parts, 'database-password', 'mail-password', '.example']) {
      expect(said).not.toContain(value);
    }
  });

  it('lets two processes start at once on one empty database, of which one migrates', async () => {
    await using postgres = await externalPostgres(join(base, 'external'));
    const { client } = postgres;
    const settings = await productionSettings(postgres.url);
    // No table can be made meanwhile, so that both come to the migrations before either runs them.
    await client.query('BEGIN');
    await client.query('LOCK TABLE pg_class IN SHARE MODE');
    const letGo = async (): Promise<void> => {
      await until(async () => (await waitingClients(client)) === 2, LIMIT_MS);
      await client.query('COMMIT');
    };

    const [one, other] = await Promise.all([
      NpmService.start({ ...settings, PORT: '0' }),
      NpmService.start({ ...settings, PORT: '0' }),
      letGo(),
    ]);

    const { rows } = await client.query<{ name: string }>('SELECT name FROM migrations ORDER BY id');
    expect(rows.map(({ name }) => name)).toEqual(migrations.map(({ name }) => name));
    for (const process of [one, other]) {
      expect((await fetch(`${process.url}/health/ready`)).status).toBe(200);
      expect((await fetch(`${process.url}/docs`)).status).toBe(404);
      expect((await fetch(`${process.url}/metrics`)).status).toBe(404);
      expect((await fetch(`${process.url}/dev/mailbox`)).status).toBe(404);
    }
    expect(await one.interrupt()).toMatchObject({ code: 0 });
    expect((await fetch(`${other.url}/health/ready`)).status).toBe(200);
    expect(await other.interrupt()).toMatchObject({ code: 0 });
    expect(existsSync(settings.DATA_DIR)).toBe(false);
  });
});

describe('npm run admin', () => {
  it('sets the tier of an account while the service runs', async () => {
    const { token } = await signUp(service, 'running@example.com');

    const set = await admin(shared, 'tier', 'Running@Example.com', 'professional');

    expect(set).toMatchObject({ code: 0, stderr: '' });
    expect(set.stdout).toBe('tier of running@example.com is now professional\n');
    expect(await call(service, 'GET', 'auth/me', token)).toMatchObject({ subscription_tier: 'professional' });
  });

  it('makes an account an admin, and a user again', async () => {
    const { token } = await signUp(service, 'admin@example.com');

    const promoted = await admin(shared, 'promote', 'admin@example.com');

    expect(promoted).toMatchObject({ code: 0, stdout: 'admin@example.com is now an admin\n' });
    expect(await call(service, 'GET', 'auth/me', token)).toMatchObject({ role: 'admin' });

    const demoted = await admin(shared, 'demote', 'admin@example.com');

    expect(demoted).toMatchObject({ code: 0, stdout: 'admin@example.com is now a user\n' });
    expect(await call(service, 'GET', 'auth/me', token)).toMatchObject({ role: 'user' });
  });

  it('makes no database where there is none, and says what to set', async () => {
    const elsewhere = { DATA_DIR: join(base, 'elsewhere') };
    const refused = await admin(elsewhere, 'promote', 'admin@example.com');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toBe(
      `There is no database in ${elsewhere.DATA_DIR}; set DATA_DIR or DATABASE_URL as for the service.\n`,
    );
    expect(existsSync(join(elsewhere.DATA_DIR, 'cluster'))).toBe(false);
  });

  it('explains what it cannot do on standard error', async () => {
    const cases: [args: string[], text: RegExp][] = [
      [['promote', 'who@example.com'], /There is no account who@example\.com/],
      [['tier', 'who@example.com', 'gold'], /no tier "gold".*free, starter/],
      [[], /Usage:/],
    ];
    for (const [args, text] of cases) {
      const refused = await admin(shared, ...args);
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toMatch(text);
      expect(refused.stderr).not.toMatch(/^\s+at /m);
    }
  });
});

describe('the health check of the image', () => {
  it('passes while the service is ready, and fails when it is not there', async () => {
    const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
    const [, text = ''] = /^HEALTHCHECK .*\\\n {2}CMD (\[.*\])$/m.exec(dockerfile) ?? [];
    const command = JSON.parse(text) as [string, ...string[]];

    expect(await run(command, { PORT: new URL(service.url).port })).toMatchObject({ code: 0 });
    expect(await run(command, { PORT: String(await freePort()) })).toMatchObject({ code: 1 });
  });
});

describe('npm run db:check', () => {
  const dbCheck = (settings: Readonly<Record<string, string>>): Promise<Ended> =>
    run(['npm', 'run', '--silent', 'db:check'], settings);

  it('says that the connection works, and the version of the server', async () => {
    const checked = await dbCheck(shared);

    expect(checked).toMatchObject({ code: 0, stderr: '' });
    expect(checked.stdout).toMatch(/connection works.*PostgreSQL \d+/);
  });

  it('says what is wrong, without the password', async () => {
    const nowhere = `postgres://cortex:database-password@127.0.0.1:${await freePort()}/cortex`;
    const database = await openEmbeddedPostgres(shared.DATA_DIR);
    const wrongPassword = Object.assign(new URL(database.url), { password: 'database-password' }).href;
    const wrongName = Object.assign(new URL(database.url), { pathname: '/elsewhere' }).href;
    await database.close();

    for (const [url, text] of [
      [nowhere, /nothing listens there/],
      [wrongPassword, /password is refused/],
      [wrongName, /no such database/],
    ] as const) {
      const checked = await dbCheck({ ...shared, DATABASE_URL: url });
      expect(checked).toMatchObject({ code: 1, stdout: '' });
      expect(checked.stderr).toMatch(text);
      expect(checked.stderr).not.toMatch(/database-password|^\s+at /m);
    }
  });
});

/** A server that no service owns, and a connection to it. */
async function externalPostgres(
  directory: string,
): Promise<{ readonly url: string; readonly client: Client } & AsyncDisposable> {
  const server = await startEmbeddedPostgres(directory, { durable: false });
  const client = new Client(server.url);
  await client.connect();
  const end = async (): Promise<void> => {
    await client.end();
    await server.stop();
  };
  return { url: server.url, client, [Symbol.asyncDispose]: end };
}

/** How many connections wait for a lock. */
async function waitingClients(client: Client): Promise<number> {
  // In a transaction PostgreSQL would show the same activity again.
  await client.query('SELECT pg_stat_clear_snapshot()');
  const { rows } = await client.query<{ count: number }>(
    `SELECT count(DISTINCT pid)::int AS count FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE NOT granted AND backend_type = 'client backend'`,
  );
  return rows[0]?.count ?? 0;
}

/** What production asks for; each call makes new secrets. */
async function productionSettings(
  databaseUrl: string,
): Promise<Record<string, string> & { DATA_DIR: string }> {
  return {
    NODE_ENV: 'production',
    DATABASE_URL: databaseUrl,
    DATA_DIR: join(base, `never-${randomBytes(4).toString('hex')}`),
    JWT_SECRET_KEY: randomBytes(48).toString('base64'),
    SECRET_KEY: randomBytes(48).toString('base64'),
    PUBLIC_URL: 'https://auth.customer.example',
    SMTP_URL: `smtp://127.0.0.1:${await freePort()}`,
    MAIL_FROM: 'no-reply@customer.example',
  };
}

/** The lines of the one message about the settings; nothing else is said. */
function configurationFaults({ stderr }: Ended): string[] {
  const message = stderr.split('\n').filter((line) => line && !line.startsWith('npm '));
  expect(message.at(0)).toBe('The service cannot start with these settings:');
  expect(message.at(-1)).toBe('Each is explained in docs/configuration.md.');
  return message.slice(1, -1).map((line) => line.replace(/^ {2}- /, ''));
}

function admin(settings: Readonly<Record<string, string>>, ...args: string[]): Promise<Ended> {
  return run(['npm', 'run', '--silent', 'admin', '--', ...args], settings);
}
