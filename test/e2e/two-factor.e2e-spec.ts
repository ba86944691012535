import jsQR from 'jsqr';
import { PNG } from 'pngjs';
import { TwoFactor } from '../../src/two-factor/two-factor.entity';
import type { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { exampleBody, pathOf, routesOf } from '../support/route-list';
import { startTestApp, type TestApp } from '../support/test-app';
import { AuthenticatorApp, enrol, enrolled } from '../support/two-factor';

const MINUTE_MS = 60_000;

describe('two-factor authentication', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const twoFactor = (bearer: string, action: string, body?: object): Promise<Answer> =>
    t.http.from().post(`/auth/2fa/${action}`, { bearer, ...(body && { body }) });
  const login = ({ email }: User, code?: string, more: object = {}): Promise<Answer> =>
    t.http
      .from()
      .post('/auth/login', { body: { email, password: PASSWORD, two_factor_code: code, ...more } });
  const secondStep = (challenge: unknown, code: string): Promise<Answer> =>
    t.http
      .from()
      .post('/auth/login/two-factor', { body: { challenge_token: challenge, two_factor_code: code } });
  const me = async (bearer: string): Promise<number> =>
    (await t.http.from().get('/auth/me', { bearer })).status;
  const subjects = async ({ email }: User): Promise<string[]> =>
    (await t.mails(email)).map(({ subject }) => subject);
  const audited = async (bearer: string): Promise<object[]> =>
    (await t.http.get('/auth/me/audit', { bearer })).body.data;
  describe('turning it on', () => {
    it('shows a QR code that a decoder reads back to the otpauth_url, which holds the secret', async () => {
      const user = await t.make.user();
      const { status, body } = await twoFactor(user.token, 'setup');
      expect(status).toBe(200);
      const png = PNG.sync.read(Buffer.from(String(body.qr_code).split(',')[1] ?? '', 'base64'));
      expect(jsQR(new Uint8ClampedArray(png.data), png.width, png.height)?.data).toBe(body.otpauth_url);
      const url = new URL(body.otpauth_url);
      expect(url.searchParams.get('secret')).toBe(body.secret);
      expect(body.secret).toMatch(/^[A-Z2-7]{32}$/);
      expect(decodeURIComponent(url.pathname)).toContain(`127.0.0.1:${user.email}`);
      expect((await login(user)).status).toBe(200);
    });

    it('asks for the first code, gives ten backup codes, ends other sessions, keeps keys, and tells the owner', async () => {
      const user = await t.make.user();
      const elsewhere = (await login(user)).body.access_token;
      const { key } = await t.make.apiKey({ userId: user.id });
      const app = new AuthenticatorApp((await twoFactor(user.token, 'setup')).body.secret, t);
      expect((await twoFactor(user.token, 'enable', { code: '000000' })).body.code).toBe(
        'wrong_two_factor_code',
      );
      const { status, body } = await twoFactor(user.token, 'enable', { code: app.code() });
      expect(status).toBe(200);
      expect(new Set(body.backup_codes).size).toBe(10);

      const account = await t.http.get('/auth/me', { bearer: user.token });
      expect(account.body.two_factor_enabled).toBe(true);
      expect(await me(elsewhere)).toBe(401);
      const call = { user_id: 'u', prompt: 'hi', provider: 'echo' };
      expect((await t.http.post('/generate', { key, body: call })).status).toBe(200);
      expect(await subjects(user)).toEqual(['Two-factor authentication is on']);
      expect(await audited(user.token)).toMatchObject([{ action: 'two_factor.enabled', actor: 'self' }, {}]);
    });

    it('replaces a set-up by the next one, and forgets it after 15 minutes', async () => {
      const user = await t.make.user();
      const first = new AuthenticatorApp((await twoFactor(user.token, 'setup')).body.secret, t);
      const second = new AuthenticatorApp((await twoFactor(user.token, 'setup')).body.secret, t);
      const enable = async (app: AuthenticatorApp): Promise<string> =>
        (await twoFactor(user.token, 'enable', { code: app.code() })).body.code;
      expect(await enable(first)).toBe('wrong_two_factor_code');
      t.clock.advance(15 * MINUTE_MS);
      expect(await enable(second)).toBe('two_factor_setup_missing');
      expect((await login(user)).status).toBe(200);
    });

    it('makes one set-up of many at once, and is turned on once', async () => {
      const user = await t.make.user();
      const setups = await Promise.all(Array.from({ length: 5 }, () => twoFactor(user.token, 'setup')));
      expect(setups.map(({ status }) => status)).toEqual(Array(5).fill(200));
      const codes = setups.map(({ body }) => new AuthenticatorApp(body.secret, t).code());
      const answers = await Promise.all(codes.map((code) => twoFactor(user.token, 'enable', { code })));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(await t.db.countBy(TwoFactor, { userId: user.id })).toBe(1);
    });

    it('is refused without a set-up', async () => {
      const { token } = await t.make.user();
      expect((await twoFactor(token, 'enable', { code: '123456' })).body.code).toBe(
        'two_factor_setup_missing',
      );
    });
  });

  describe('logging in', () => {
    it('asks for a code with 400, once the password was right', async () => {
      const user = await enrolled(t);
      const asked = await login(user);
      expect(asked.status).toBe(400);
      expect(asked.body).toMatchObject({
        code: 'two_factor_required',
        challenge_token: expect.any(String) as string,
      });
      expect((await login(user, '')).body.code).toBe('two_factor_required');
      const [wrongPassword, wrongCode] = [
        await login(user, '000000', { password: 'wrong' }),
        await login(user, '000000'),
      ];
      expect(wrongPassword.status).toBe(401);
      expect({ ...wrongCode.body, request_id: '' }).toEqual({ ...wrongPassword.body, request_id: '' });
    });

    it('takes each code once: the present step and the one before it, forwards only (T9)', async () => {
      const user = await enrolled(t);
      const { app } = user;
      expect((await login(user, app.code(-2))).status).toBe(401);
      expect((await login(user, app.code(1))).status).toBe(401);
      expect((await login(user, app.code(-1))).status).toBe(200);
      expect((await login(user, app.code(-1))).status).toBe(401);
      const now = app.code();
      expect((await login(user, now)).status).toBe(200);
      expect((await login(user, now)).status).toBe(401);
      expect((await login(user, app.code(-1))).status).toBe(401);
      t.clock.advance(30_000);
      expect((await login(user, now)).status).toBe(401);
      expect((await login(user, app.code())).status).toBe(200);
    });

    it('does not take the code that turned it on (T9)', async () => {
      const user = await t.make.user();
      const app = new AuthenticatorApp((await twoFactor(user.token, 'setup')).body.secret, t);
      const code = app.code();
      await twoFactor(user.token, 'enable', { code });
      expect((await login(user, code)).status).toBe(401);
      expect((await login(user, app.code(-1))).status).toBe(401);
    });

    it('goes in two steps with the challenge, which ends after five minutes and with the password', async () => {
      const user = await enrolled(t);
      const challenge = (await login(user)).body.challenge_token;
      expect((await secondStep(challenge, '000000')).body.code).toBe('invalid_two_factor_code');
      const opened = await secondStep(challenge, user.app.freshCode());
      expect(opened.status).toBe(200);
      expect(opened.body.user).toMatchObject({ id: user.id, two_factor_enabled: true });
      expect(await me(opened.body.access_token)).toBe(200);

      const stranger = await enrolled(t);
      const [end, , mac] = String(challenge).split('.');
      const forged = [end, stranger.id, mac].join('.');
      expect((await secondStep(forged, stranger.app.freshCode())).status).toBe(401);
      const unused = (await login(user)).body.challenge_token;
      const longer = String(unused).replace(/^\d+/, '9999999999999');
      expect((await secondStep(longer, user.app.freshCode())).status).toBe(401);
      t.clock.advance(5 * MINUTE_MS);
      expect((await secondStep(unused, user.app.code())).status).toBe(401);

      const before = (await login(user)).body.challenge_token;
      const change = { current_password: PASSWORD, new_password: 'an entirely new one' };
      const changed = await t.http.post('/auth/password/change', {
        bearer: opened.body.access_token,
        body: change,
      });
      expect(changed.status).toBe(200);
      expect((await secondStep(before, user.app.freshCode())).status).toBe(401);
    });

    it('takes a backup code once, tells how many are left and to enrol again, and mails the owner', async () => {
      const user = await enrolled(t, {}, 10);
      const [code = ''] = user.backupCodes;
      const opened = await login(user, ` ${code.toUpperCase().replaceAll('-', ' ')} `);
      expect(opened.status).toBe(200);
      expect(opened.body).toMatchObject({
        backup_codes_left: 9,
        message: expect.stringContaining('set up two-factor authentication') as string,
      });
      expect((await login(user, code)).status).toBe(401);
      expect(await subjects(user)).toEqual(['A backup code was used', 'Two-factor authentication is on']);
      const events = await audited(opened.body.access_token);
      expect(events[0]).toMatchObject({ action: 'two_factor.backup_code_used', actor: 'self' });
      expect(events[1]).toMatchObject({ action: 'user.login', details: { second_factor: 'backup_code' } });
    });

    it('moves to another phone after a backup code: the old app and the old codes end (6.4.4)', async () => {
      const user = await enrolled(t, {}, 2);
      const { app: lost, backupCodes } = user;
      const bearer: string = (await login(user, backupCodes[0])).body.access_token;
      const app = new AuthenticatorApp((await twoFactor(bearer, 'setup')).body.secret, t);
      // The old one works until the new one has proven itself.
      expect((await login(user, lost.code())).status).toBe(200);
      expect((await twoFactor(bearer, 'enable', { code: lost.code(-1) })).status).toBe(400);
      expect((await twoFactor(bearer, 'enable', { code: app.code() })).status).toBe(200);
      t.clock.advance(MINUTE_MS);
      expect((await login(user, lost.code())).status).toBe(401);
      expect((await login(user, backupCodes[1])).status).toBe(401);
      expect((await login(user, app.code())).status).toBe(200);
    });

    it("does not open with another user's sealed secret (11.3.3)", async () => {
      const [owner, thief] = [await enrolled(t, {}, 1), await enrolled(t)];
      const theirs = await t.db.findOneByOrFail(TwoFactor, { userId: thief.id });
      await t.db.update(TwoFactor, { userId: owner.id }, { keyId: theirs.keyId, sealed: theirs.sealed });
      const answer = await login(owner, thief.app.freshCode());
      expect(answer.status).toBe(500);
      expect(answer.text).not.toContain('unsupported state');
      expect((await login(owner, owner.backupCodes[0])).status).toBe(200);
    });
  });

  describe('the step-up (S6)', () => {
    it('is asked for ten minutes after the last code, on every route that says so, and given by a code', async () => {
      const marked = routesOf(t).filter(({ problems }) => problems.includes('reauthentication_required'));
      expect(marked.map(({ name }) => name.replace('/api/v1', ''))).toEqual(
        expect.arrayContaining([
          'POST /auth/api-keys',
          'POST /auth/password/change',
          'POST /auth/me/email',
          'PATCH /auth/api-keys/{id}',
          'POST /auth/api-keys/{id}/rotate',
          'POST /auth/2fa/setup',
          'POST /auth/2fa/enable',
          'POST /auth/2fa/disable',
          'POST /auth/2fa/backup-codes',
          'POST /admin/api-keys/import',
          'PUT /admin/api-keys/{id}/permissions',
          'POST /admin/users/{id}/suspend',
          'POST /admin/users/{id}/restore',
          'PUT /admin/users/{id}/tier',
          'POST /admin/users/{id}/2fa/reset',
          'POST /admin/prices',
        ]),
      );
      for (const route of marked) {
        const user = await enrolled(t);
        if (route.access === 'admin')
          await t.db.query(`UPDATE users SET role = 'admin' WHERE id = $1`, [user.id]);
        const code = async (): Promise<string | undefined> =>
          (
            await t.http.from().send(route.method, pathOf(route), {
              bearer: user.token,
              ...(route.takesBody && { body: exampleBody(route, t) }),
            })
          ).body.code;
        const asked = async (): Promise<object> => ({
          route: route.name,
          isAsked: (await code()) === 'reauthentication_required',
        });
        t.clock.advance(10 * MINUTE_MS + 1_000);
        expect(await asked()).toEqual({ route: route.name, isAsked: true });
        expect((await twoFactor(user.token, 'verify', { code: user.app.code() })).status).toBe(200);
        expect(await asked()).toEqual({ route: route.name, isAsked: false });
        t.clock.reset();
      }
    });

    it('is given for every process at once', async () => {
      const user = await enrolled(t);
      const other = await startTestApp({ databaseUrl: t.databaseUrl });
      try {
        for (const { clock } of [t, other]) clock.advance(10 * MINUTE_MS + 1_000);
        const create = async (): Promise<number> =>
          (await other.http.post('/auth/api-keys', { bearer: user.token, body: { name: 'key' } })).status;
        expect(await create()).toBe(403);
        expect((await twoFactor(user.token, 'verify', { code: user.app.code() })).status).toBe(200);
        expect(await create()).toBe(200);
      } finally {
        t.clock.reset();
        await other.close();
      }
    });

    it('is kept by a refresh and not renewed by it', async () => {
      const user = await enrolled(t);
      const create = async (bearer: string): Promise<number> =>
        (await t.http.from().post('/auth/api-keys', { bearer, body: { name: 'key' } })).status;
      const refresh = async (token: string): Promise<{ access_token: string; refresh_token: string }> =>
        (await t.http.from().post('/auth/refresh', { body: { refresh_token: token } })).body;
      t.clock.advance(9 * MINUTE_MS);
      const once = await refresh(user.refreshToken);
      expect(await create(once.access_token)).toBe(200);
      t.clock.advance(2 * MINUTE_MS);
      const twice = await refresh(once.refresh_token);
      expect(await create(twice.access_token)).toBe(403);
    });

    it('is asked for of a session that has never given one, and of nobody without a second factor', async () => {
      const user = await t.make.user();
      const create = async (): Promise<number> =>
        (await t.http.from().post('/auth/api-keys', { bearer: user.token, body: { name: 'key' } })).status;
      expect(await create()).toBe(200);
      await enrol(t, user);
      t.clock.advance(1_000);
      expect(await create()).toBe(403);
    });

    it('is seen by another process within a second', async () => {
      const other = await startTestApp({ databaseUrl: t.databaseUrl });
      try {
        const user = await enrolled(t);
        t.clock.advance(11 * MINUTE_MS);
        other.clock.advance(12 * MINUTE_MS);
        const create = async (): Promise<number> =>
          (await other.http.post('/auth/api-keys', { bearer: user.token, body: { name: 'key' } })).status;
        expect(await create()).toBe(403);
        await twoFactor(user.token, 'verify', { code: user.app.code() });
        other.clock.advance(1_000);
        expect(await create()).toBe(200);
      } finally {
        await other.close();
      }
    });
  });

  describe('turning it off', () => {
    it('needs the password and a code, of either kind, and says not which was wrong', async () => {
      const user = await enrolled(t, {}, 1);
      t.clock.advance(30_000);
      const wrong = [
        { password: 'wrong', code: user.app.code() },
        { password: PASSWORD, code: '000000' },
        { password: 'wrong', code: user.backupCodes[0] },
      ];
      const bodies = [];
      for (const body of wrong) bodies.push((await twoFactor(user.token, 'disable', body)).body);
      expect(bodies.map((body) => ({ ...body, request_id: '' }))).toEqual(
        Array(3).fill({ ...bodies[0], request_id: '' }),
      );
      expect(bodies[0].code).toBe('wrong_two_factor_code');
      const right = { password: PASSWORD, code: user.app.code() };
      expect((await twoFactor(user.token, 'disable', right)).status).toBe(200);
    });

    it('ends other sessions and the backup codes, and tells the owner', async () => {
      const user = await enrolled(t, {}, 1);
      const elsewhere = (await login(user, user.app.freshCode())).body.access_token;
      const body = { password: PASSWORD, code: user.backupCodes[0] };
      expect((await twoFactor(user.token, 'disable', body)).status).toBe(200);
      expect(await me(elsewhere)).toBe(401);
      const account = await t.http.get('/auth/me', { bearer: user.token });
      expect(account.body.two_factor_enabled).toBe(false);
      expect((await login(user)).status).toBe(200);
      expect(await subjects(user)).toContain('Two-factor authentication is off');
      expect(await audited(user.token)).toContainEqual(
        expect.objectContaining({ action: 'two_factor.disabled', actor: 'self' }),
      );
      const [rows] = await t.db.query<{ count: string }[]>(
        'SELECT count(*) FROM backup_codes JOIN two_factors f ON f.id = two_factor_id WHERE user_id = $1',
        [user.id],
      );
      expect(rows?.count).toBe('0');
      for (const action of ['verify', 'disable', 'backup-codes']) {
        const answer = await twoFactor(user.token, action, { code: '1', ...(action !== 'verify' && body) });
        expect(answer.body.code).toBe('two_factor_not_enabled');
      }
    });
  });

  it('makes new backup codes and ends the old ones', async () => {
    const user = await enrolled(t, {}, 1);
    const wrong = { password: 'wrong', code: user.app.freshCode() };
    expect((await twoFactor(user.token, 'backup-codes', wrong)).body.code).toBe('wrong_two_factor_code');
    const { status, body } = await twoFactor(user.token, 'backup-codes', { ...wrong, password: PASSWORD });
    expect(status).toBe(200);
    expect(new Set([...body.backup_codes, ...user.backupCodes]).size).toBe(11);
    expect((await login(user, user.backupCodes[0])).status).toBe(401);
    const opened = await login(user, body.backup_codes[0]);
    expect(opened.body.backup_codes_left).toBe(9);
    expect(await subjects(user)).toContain('You have new backup codes');
  });

  describe('a password reset', () => {
    const reset = async (user: User): Promise<Answer> => {
      await t.http.from().post('/auth/password/reset', { body: { email: user.email } });
      const mail = (await t.mails(user.email)).find(({ subject }) => subject === 'Choose a new password');
      const token = /#token=([\w-]+)/.exec(mail?.text ?? '')?.[1] ?? '';
      return t.http
        .from()
        .post('/auth/password/reset/confirm', { body: { token, new_password: 'another one' } });
    };

    it('leaves the second factor on and opens no session (6.3.3)', async () => {
      const user = await enrolled(t);
      const answer = await reset(user);
      expect(answer.status).toBe(200);
      expect(Object.keys(answer.body)).toEqual(['message']);
      expect(await me(user.token)).toBe(401);
      const asked = await login(user, undefined, { password: 'another one' });
      expect(asked.body.code).toBe('two_factor_required');
      const opened = await login(user, user.app.freshCode(), { password: 'another one' });
      expect(opened.status).toBe(200);
    });

    it('ends the second factor of an account whose address was not proven: it is somebody else’s (T21)', async () => {
      const user = await enrolled(t, { isVerified: false });
      expect((await reset(user)).status).toBe(200);
      expect((await login(user, undefined, { password: 'another one' })).status).toBe(200);
    });
  });
});
