import { noteExchange, strayedSecrets } from '../support/secret-search';
import { startTestApp, type TestApp } from '../support/test-app';
import { AuthenticatorApp, fromBase32 } from '../support/two-factor';

describe('secrets', () => {
  let t: TestApp;
  const secrets: string[] = [];

  /** One of everything a customer does, right and wrong, with each secret noted. */
  beforeAll(async () => {
    t = await startTestApp();
    const email = 'secretive@example.com';
    const password = 'my very own password 4711';
    await t.http.post('/auth/register', { body: { email, password } });
    const mailToken = /#token=([\w-]+)/.exec((await t.mails(email))[0]?.text ?? '')?.[1] ?? '';
    await t.http.post(`/auth/verify-email?token=${mailToken}`);
    await t.http.post(`/auth/verify-email?token=${mailToken}`);
    await t.http.post('/auth/login', { body: { email, password: `${password}!` } });
    const login = await t.http.post('/auth/login', { body: { email, password } });
    const token = login.body.access_token as string;
    const created = await t.http.post('/auth/api-keys', { bearer: token, body: { name: 'key' } });
    const key = created.body.api_key as string;
    await t.http.post('/generate', {
      key,
      body: { user_id: 'u', prompt: 'a private prompt', provider: 'echo' },
    });
    await t.http.post('/generate', {
      key,
      body: { user_id: 'u', prompt: 'a private prompt', provider: 'gemini' },
    });
    const setup = await t.http.post('/auth/2fa/setup', { bearer: token });
    const app = new AuthenticatorApp(setup.body.secret, t);
    await t.http.post('/auth/2fa/enable', { bearer: token, body: { code: '000000' } });
    const enabled = await t.http.post('/auth/2fa/enable', { bearer: token, body: { code: app.code(-1) } });
    const backupCodes = enabled.body.backup_codes as string[];
    const asked = await t.http.post('/auth/login', { body: { email, password } });
    const challenge = asked.body.challenge_token as string;
    const steps = { challenge_token: challenge, two_factor_code: app.code() };
    await t.http.post('/auth/login/two-factor', { body: { ...steps, two_factor_code: '000000' } });
    await t.http.post('/auth/login/two-factor', { body: steps });
    await t.http.post('/auth/login', { body: { email, password, two_factor_code: backupCodes[0] } });
    const admin = await t.make.user({ role: 'admin' });
    const { id } = login.body.user as { id: string };
    await t.http.post(`/admin/users/${id}/2fa/reset`, { bearer: admin.token });
    const stopToken = /stop-two-factor-reset#token=([\w-]+)/.exec((await t.mails(email))[0]?.text ?? '')?.[1];
    secrets.push(setup.body.secret as string, fromBase32(setup.body.secret as string).toString('hex'));
    secrets.push(...backupCodes, ...backupCodes.map((code) => code.replaceAll('-', '')), challenge);
    secrets.push(stopToken ?? '');
    await t.http.get(`/auth/me?access_token=${token}`);
    await t.http.post(`/generate?api_key=${key}`, {
      raw: `{"broken": "${key}`,
      headers: { 'content-type': 'application/json' },
    });
    await t.db.query('ALTER TABLE usage_logs RENAME TO gone');
    await t.http.post('/generate', {
      key,
      body: { user_id: 'u', prompt: 'a private prompt', provider: 'echo' },
    });
    await t.db.query('ALTER TABLE gone RENAME TO usage_logs');
    secrets.push(password, mailToken, token, key, 'a private prompt', t.env.JWT_SECRET_KEY, t.env.SECRET_KEY);
  });
  afterAll(() => t.close());

  it('are all there to look for', () => {
    expect(secrets.every((secret) => secret.length > 10)).toBe(true);
  });

  it('appear in no log line, and every line is JSON', () => {
    const log = t.logLines.join('\n');
    expect(t.logLines.length).toBeGreaterThan(10);
    for (const line of t.logLines) expect(() => JSON.parse(line) as unknown).not.toThrow();
    expect(log).toContain('Internal error');
    for (const secret of secrets) expect(log).not.toContain(secret);
  });

  it('appear in no row of any table', async () => {
    const tables = await t.db.query<{ schema: string; name: string }[]>(
      `SELECT table_schema AS schema, table_name AS name FROM information_schema.tables
       WHERE table_schema IN ('public', 'pgboss')`,
    );
    expect(tables.length).toBeGreaterThanOrEqual(15);
    for (const { schema, name } of tables) {
      const rows = await t.db.query<{ row: string }[]>(`SELECT t::text AS row FROM "${schema}"."${name}" t`);
      for (const { row } of rows) for (const secret of secrets) expect(row).not.toContain(secret);
    }
  });

  it('log one line per request, with the route and never the query', () => {
    const lines = t.logLines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toContainEqual(
      expect.objectContaining({
        msg: 'request',
        method: 'POST',
        route: '/api/v1/auth/verify-email',
        status: 400,
      }),
    );
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'mail sent', subject: 'Verify your e-mail address' }),
    );
  });
});

/** With SECRET_SEARCH=true every test application is searched like this when it closes. */
describe('the search for secrets', () => {
  it('finds one in the log, in a table and in a mail', () => {
    const token = 'planted0by0this0test';
    const answer = (body: object): { status: number; text: string; body: object } => ({
      status: 200,
      text: JSON.stringify(body),
      body,
    });
    noteExchange('POST', '/api/v1/planted', undefined, answer({ access_token: token }));
    expect(strayedSecrets([], [], [])).toEqual([]);
    expect(strayedSecrets([`{"msg":"seen","url":"/x?t=${token}"}`], [], [])).toHaveLength(1);
    expect(strayedSecrets([], [], [{ table: 'public.t', row: `(1,${token})` }])).toHaveLength(1);
    const mail = { to: 'a@example.com', subject: '', text: token, html: '', sentAt: new Date(0) };
    expect(strayedSecrets([], [mail], [])).toHaveLength(1);
  });
});

describe('the mailbox', () => {
  it('shows what was mailed, escaped', async () => {
    const t = await startTestApp();
    const email = t.make.email();
    await t.http.post('/auth/register', { body: { email, password: 'a long enough one' } });
    await t.settled();
    const html = await t.http.get('/dev/mailbox');
    expect(html.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(html.text).toContain(email);
    expect(html.text).toContain('/verify-email#token=');
    expect(html.text).toMatch(/href="[^"#]*\/verify-email">/);
    const json = await t.http.get(`/dev/mailbox.json?to=${encodeURIComponent(email.toUpperCase())}`);
    expect(json.body).toMatchObject([{ to: email, subject: 'Verify your e-mail address' }]);
    await t.close();
  });

  it('does not exist in production, nor with a mail server', async () => {
    const production = await startTestApp({
      settings: {
        NODE_ENV: 'production',
        SMTP_URL: 'smtp://127.0.0.1:9',
        MAIL_FROM: 'a@example.com',
        PUBLIC_URL: 'https://api.example.com',
        DATABASE_URL: 'postgres://unused',
      },
    });
    expect((await production.http.get('/dev/mailbox')).status).toBe(404);
    expect((await production.http.get('/docs')).status).toBe(404);
    expect((await production.http.get('/openapi.json')).status).toBe(404);
    await production.close();
  });
});
