import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import type { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';
import { enrolled } from '../support/two-factor';

const DAY_MS = 24 * 60 * 60 * 1_000;
const SUBJECT = 'Two-factor authentication will be turned off';

describe('an admin resets the second factor of who has lost it', () => {
  let t: TestApp;
  let admin: string;
  beforeAll(async () => {
    t = await startTestApp();
  });
  beforeEach(async () => {
    admin = (await t.make.user({ role: 'admin' })).token;
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const reset = ({ id }: User): Promise<Answer> =>
    t.http.from().post(`/admin/users/${id}/2fa/reset`, { bearer: admin });
  const stop = (token: string): Promise<Answer> =>
    t.http.from().post('/auth/2fa/reset/stop', { body: { token } });
  const login = ({ email }: User, code?: string): Promise<Answer> =>
    t.http.from().post('/auth/login', { body: { email, password: PASSWORD, two_factor_code: code } });
  const mailedToken = async ({ email }: User): Promise<string> => {
    const mail = (await t.mails(email)).find(({ subject }) => subject === SUBJECT);
    return /stop-two-factor-reset#token=([\w-]+)/.exec(mail?.text ?? '')?.[1] ?? '';
  };

  it('a day later, and not before: then a log-in without a code turns it off, and ends other sessions', async () => {
    const user = await enrolled(t);
    const { status, body } = await reset(user);
    expect(status).toBe(200);
    const effectMs = Date.parse(body.takes_effect_at);
    expect(effectMs).toBeGreaterThan(t.clock.nowMs() + DAY_MS - 10_000);

    t.clock.advance(DAY_MS - 10_000);
    expect((await login(user)).body.code).toBe('two_factor_required');
    const elsewhere = await t.make.session(user.id);
    t.clock.advance(10_000);
    expect((await login(user, '000000')).status).toBe(401);
    const opened = await login(user);
    expect(opened.status).toBe(200);
    expect(opened.body.user.two_factor_enabled).toBe(false);
    expect(await t.db.query('SELECT 1 FROM sessions WHERE id = $1', [elsewhere.sessionId])).toEqual([]);
    expect((await login(user)).status).toBe(200);
    expect((await t.mails(user.email)).map(({ subject }) => subject)).toEqual([
      'Two-factor authentication is off',
      SUBJECT,
      'Two-factor authentication is on',
    ]);
    const events = await t.http.get('/auth/me/audit', { bearer: opened.body.access_token });
    expect(events.body.data).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ action: 'two_factor.reset_requested', actor: 'admin' }),
        expect.objectContaining({ action: 'two_factor.disabled', details: { because: 'reset' } }),
      ]),
    );
  });

  it('unless the owner stops it with the mailed link, which works once', async () => {
    const user = await enrolled(t);
    await reset(user);
    const token = await mailedToken(user);
    const answers = await Promise.all(Array.from({ length: 10 }, () => stop(token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body.code === 'invalid_stop_token')).toHaveLength(9);
    t.clock.advance(2 * DAY_MS);
    expect((await login(user)).body.code).toBe('two_factor_required');
    expect((await stop(token)).status).toBe(400);
  });

  it('unless the owner gives a code of his app: at log-in, or logged in', async () => {
    const [first, second] = [await enrolled(t), await enrolled(t)];
    for (const user of [first, second]) await reset(user);
    expect((await login(first, first.app.freshCode())).status).toBe(200);
    const body = { code: second.app.code() };
    expect((await t.http.post('/auth/2fa/verify', { bearer: second.token, body })).status).toBe(200);
    t.clock.advance(2 * DAY_MS);
    for (const user of [first, second]) {
      expect((await login(user)).body.code).toBe('two_factor_required');
      const stops = { subjectId: user.id, action: 'two_factor.reset_stopped', actor: user.id } as const;
      expect(await t.db.countBy(AuditEvent, stops)).toBe(1);
    }
  });

  it('not stopped by a backup code, which shows no phone; stopped in the last moment while nobody has logged in', async () => {
    const user = await enrolled(t, {}, 1);
    await reset(user);
    await login(user, user.backupCodes[0]);
    const token = await mailedToken(user);
    t.clock.advance(2 * DAY_MS);
    expect((await stop(token)).status).toBe(200);
    expect((await login(user)).body.code).toBe('two_factor_required');
  });

  it('once: asking again neither moves the time nor mails again', async () => {
    const user = await enrolled(t);
    const first = await reset(user);
    t.clock.advance(60_000);
    expect((await reset(user)).body).toEqual(first.body);
    expect((await t.mails(user.email)).filter(({ subject }) => subject === SUBJECT)).toHaveLength(1);
  });

  it('and nobody else can', async () => {
    const user = await enrolled(t);
    const plain = await t.make.user();
    expect((await reset(plain)).body.code).toBe('two_factor_not_enabled');
    const path = `/admin/users/${user.id}/2fa/reset`;
    expect((await t.http.from().post(path, { bearer: plain.token })).status).toBe(403);
    for (const token of ['', 'x', await mailedToken(user), user.token])
      expect((await stop(token)).status).toBe(400);
    expect((await t.http.get('/stop-two-factor-reset')).text).toContain('/auth/2fa/reset/stop');
  });
});
