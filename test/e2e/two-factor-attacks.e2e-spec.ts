import { ATTEMPTS_MAX, LOCK_MS } from '../../src/limits/attempts';
import { TwoFactorService } from '../../src/two-factor/two-factor.service';
import { Session } from '../../src/auth/session.entity';
import type { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { exampleBody, inBatches, pathOf, routesOf, storedState } from '../support/route-list';
import { startTestApp, type TestApp } from '../support/test-app';
import { AuthenticatorApp, enrol, enrolled } from '../support/two-factor';

describe('attacks on two-factor authentication', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
    jest.restoreAllMocks();
  });
  afterAll(() => t.close());

  const login = ({ email }: User, code?: string, deviceToken?: string): Promise<Answer> =>
    t.http.from().post('/auth/login', {
      body: { email, password: PASSWORD, two_factor_code: code, device_token: deviceToken },
    });
  const secondStep = (challenge: unknown, code: string, deviceToken?: string): Promise<Answer> =>
    t.http.from().post('/auth/login/two-factor', {
      body: { challenge_token: challenge, two_factor_code: code, device_token: deviceToken },
    });
  /** How many codes were compared since. */
  const comparisons = (): (() => number) => {
    const spies = t.apps.map((app) => jest.spyOn(app.get(TwoFactorService, { strict: false }), 'examine'));
    return () => spies.flatMap(({ mock }) => mock.calls).length;
  };
  const statuses = (answers: readonly Answer[]): number[] => answers.map(({ status }) => status);
  const sessionsOf = ({ id }: User): Promise<number> => t.db.countBy(Session, { userId: id });

  it('T2: what the first step gives opens no route, as a credential or in any field', async () => {
    const user = await enrolled(t, { role: 'admin' });
    const challenge: string = (await login(user)).body.challenge_token;
    const routes = routesOf(t);
    const before = await storedState(t);
    const refusedAs =
      (code: string): ((answer: Answer) => boolean) =>
      ({ status, body }) =>
        status === 401 && body.code === code;
    const opened = await inBatches(routes, async (route) => {
      const path = pathOf(route);
      const fits = route.fields.filter(
        ({ in: where, schema }) => where === 'body' && schema.type === 'string',
      );
      const tokens = fits.filter(({ name }) => /token|code|password/.test(name)).map(({ name }) => name);
      const body = {
        ...exampleBody(route, t),
        ...Object.fromEntries(tokens.map((name) => [name, challenge])),
        ...(fits.some(({ name }) => name === 'email') && { email: user.email }),
      };
      const sent = route.takesBody ? { body } : {};
      const asBearer = await t.http.from().send(route.method, path, { ...sent, bearer: challenge });
      const asKey = await t.http.from().send(route.method, path, { ...sent, key: challenge });
      const faults = [asBearer, asKey].filter(
        (answer) => route.access !== 'public' && !refusedAs('invalid_token')(answer),
      );
      // A public route hears of it in its fields alone.
      const isOpened = route.access === 'public' && tokens.length > 0 && asBearer.status < 400;
      return faults.length > 0 || isOpened ? [`${route.name}: ${asBearer.status} ${asBearer.text}`] : [];
    });
    expect(
      opened.flat().filter((text) => !/POST \/api\/v1\/auth\/(register|password\/reset):/.test(text)),
    ).toEqual([]);
    const after = await storedState(t);
    for (const table of ['sessions', 'api_keys', 'two_factors', 'backup_codes'])
      expect({ table, state: after[table] }).toEqual({ table, state: before[table] });
    expect(await sessionsOf(user)).toBe(1);
  });

  it('T9: one code of the app, 50 log-ins at once, in one step and in two: one session', async () => {
    const user = await enrolled(t);
    const { app } = user;
    const challenge = (await login(user)).body.challenge_token;
    const code = app.freshCode();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 ? login(user, code) : secondStep(challenge, code))),
    );
    expect(statuses(answers).filter((status) => status === 200)).toHaveLength(1);
    // 503: too busy at the moment, which opens nothing either.
    expect(statuses(answers).filter((status) => ![200, 401, 503].includes(status))).toEqual([]);
    expect(await sessionsOf(user)).toBe(2);
  });

  it('T4: one backup code, 50 log-ins at once: one session, nine codes left', async () => {
    const user = await enrolled(t, {}, 10);
    const { backupCodes } = user;
    const answers = await Promise.all(Array.from({ length: 50 }, () => login(user, backupCodes[0])));
    expect(statuses(answers).filter((status) => status === 200)).toHaveLength(1);
    t.clock.advance(LOCK_MS);
    expect((await login(user, backupCodes[1])).body.backup_codes_left).toBe(8);
  });

  it('T13: of 100 wrong codes at once no more are compared than an account has attempts', async () => {
    const user = await enrolled(t);
    const { app } = user;
    const challenge = (await login(user)).body.challenge_token;
    const compared = comparisons();
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => {
        const code = String(i).padStart(6, '0');
        return i % 2 ? login(user, code) : secondStep(challenge, code);
      }),
    );
    expect(statuses(answers)).toEqual(Array(100).fill(401));
    expect(compared()).toBeLessThanOrEqual(ATTEMPTS_MAX);
    expect(compared()).toBeGreaterThan(0);
    // Locked: the right code too, with the answer of a wrong one.
    const right = await login(user, app.code());
    expect(right.status).toBe(401);
    expect((await secondStep(challenge, app.code())).status).toBe(401);
    t.clock.advance(LOCK_MS);
    expect((await login(user, app.code())).status).toBe(200);
  });

  it('T10: one counter over challenges, factors, sessions and passwords, which a right password does not reset', async () => {
    const user = await enrolled(t, {}, 1);
    const { app, backupCodes, token: bearer } = user;
    const inSession = (action: string, body: object): Promise<Answer> =>
      t.http.from().post(`/auth/2fa/${action}`, { bearer, body });
    const guesses: readonly (() => Promise<Answer>)[] = [
      () => login(user, '000000'),
      async () => secondStep((await login(user)).body.challenge_token, '000001'),
      () => login(user, 'zzzz-zzzz-zzzz'),
      () => inSession('verify', { code: '000002' }),
      () => inSession('disable', { password: PASSWORD, code: '000003' }),
      () => inSession('backup-codes', { password: 'wrong', code: app.code() }),
      () => t.http.from().post('/auth/login', { body: { email: user.email, password: 'wrong' } }),
    ];
    const compared = comparisons();
    for (let i = 0; i < ATTEMPTS_MAX; i++) {
      const answer = await guesses[i % guesses.length]?.();
      expect([400, 401]).toContain(answer?.status);
      if (i < ATTEMPTS_MAX - 1) expect((await login(user)).body.code).toBe('two_factor_required');
    }
    const before = compared();
    expect((await login(user, app.freshCode())).status).toBe(401);
    expect((await login(user, backupCodes[0])).status).toBe(401);
    expect((await inSession('verify', { code: app.code() })).status).toBe(400);
    expect((await login(user)).status).toBe(401);
    expect(compared()).toBe(before);
  });

  it('T10: a reset of the password gives no new guesses at the second factor', async () => {
    const user = await enrolled(t);
    const newPassword = 'an entirely new one';
    const body = (code: string): object => ({
      email: user.email,
      password: newPassword,
      two_factor_code: code,
    });
    const reset = async (): Promise<void> => {
      await t.http.from().post('/auth/password/reset', { body: { email: user.email } });
      const token = /#token=([\w-]+)/.exec((await t.mails(user.email))[0]?.text ?? '')?.[1];
      const confirmed = { token, new_password: newPassword };
      const answer = await t.http.from().post('/auth/password/reset/confirm', { body: confirmed });
      expect(answer.status).toBe(200);
    };
    await reset();
    const compared = comparisons();
    for (let i = 0; i < ATTEMPTS_MAX; i += 1)
      await t.http.from().post('/auth/login', { body: body('000000') });
    expect(compared()).toBe(ATTEMPTS_MAX);
    await reset();
    expect((await t.http.from().post('/auth/login', { body: body(user.app.code()) })).status).toBe(401);
    expect(compared()).toBe(ATTEMPTS_MAX);
    t.clock.advance(LOCK_MS);
    expect((await t.http.from().post('/auth/login', { body: body(user.app.code()) })).status).toBe(200);
  });

  it('T10: a device that logged in before the second factor was on has no counter of its own', async () => {
    const user = await t.make.user();
    const devices: string[] = [];
    for (let i = 0; i < 3; i++) devices.push((await login(user)).body.device_token);
    const { app } = await enrol(t, user);
    const compared = comparisons();
    for (let i = 0; i < 2 * ATTEMPTS_MAX; i++) await login(user, '000000', devices[i % 3]);
    expect(compared()).toBe(ATTEMPTS_MAX);
    expect((await login(user, app.code(), devices[0])).status).toBe(401);
  });

  it('T12: whoever guesses cannot lock out the owner on a device that gave a second factor', async () => {
    const user = await enrolled(t);
    const { app } = user;
    const device: string = (await login(user, app.freshCode())).body.device_token;
    for (let i = 0; i < ATTEMPTS_MAX; i++) await login(user, '000000');
    t.clock.advance(30_000);
    expect((await login(user, app.code())).status).toBe(401);
    const challenge = (await login(user, undefined, device)).body.challenge_token;
    expect((await secondStep(challenge, app.code(), device)).status).toBe(200);
  });

  it('gives a log-in under way no session without a second factor while it is turned on (6.3.3)', async () => {
    for (let round = 0; round < 4; round++) {
      const user = await t.make.user();
      const setup = await t.http.from().post('/auth/2fa/setup', { bearer: user.token });
      const code = new AuthenticatorApp(setup.body.secret, t).code();
      const [enabled, ...logins] = await Promise.all([
        t.http.from().post('/auth/2fa/enable', { bearer: user.token, body: { code } }),
        ...Array.from({ length: 4 }, () => login(user)),
      ]);
      expect(enabled.status).toBe(200);
      for (const { status, body } of logins) {
        if (status === 200) {
          const after = await t.http.from().get('/auth/me', { bearer: body.access_token });
          expect(after.status).toBe(401);
        }
      }
      expect(await sessionsOf(user)).toBe(1);
    }
  });
});
