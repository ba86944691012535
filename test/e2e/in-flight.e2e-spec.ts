import { User } from '../../src/users/user.entity';
import { Passwords } from '../../src/platform/crypto/passwords';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { describeAlone, startTestApp, type TestApp } from '../support/test-app';
import { AuthenticatorApp, enrolled } from '../support/two-factor';

const NEW_PASSWORD = 'an entirely new one';

/** What a request does that was proven, and has not been done, when something else changes the account. */
describeAlone('inside')('requests under way', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
    jest.restoreAllMocks();
  });
  afterAll(() => t.close());

  const post = (path: string, body: object, bearer?: string): Promise<Answer> =>
    t.http.from().post(path, { body, ...(bearer !== undefined && { bearer }) });
  const mailed = async (address: string, page: string): Promise<string> => {
    const mails = await t.mails(address);
    return mails.flatMap(({ text }) => new RegExp(`/${page}#token=([\\w-]+)`).exec(text)?.[1] ?? [])[0] ?? '';
  };
  const isOn = async ({ id }: User): Promise<boolean> =>
    (await t.db.findOneByOrFail(User, { id })).twoFactorEnabled;

  describe('after the password was shown', () => {
    /** Does something when the next password has been found right, or the next backup code has been made. */
    const meanwhile = (moment: 'verify' | 'digest', what: () => Promise<Answer>): void => {
      const passwords = t.app.get(Passwords, { strict: false });
      type Hashing = (a: unknown, b: unknown) => Promise<unknown>;
      const hashing = passwords[moment].bind(passwords) as Hashing;
      const stopped: Hashing = async (a, b) => {
        const result = await hashing(a, b);
        expect((await what()).status).toBe(200);
        return result;
      };
      jest.spyOn(passwords, moment).mockImplementationOnce(stopped as never);
    };
    const reset = async ({ email }: User): Promise<Answer> => {
      await post('/auth/password/reset', { email });
      const token = await mailed(email, 'reset-password');
      return post('/auth/password/reset/confirm', { token, new_password: NEW_PASSWORD });
    };

    it('T22: a change of the address does not outlive a reset of the password', async () => {
      const user = await t.make.user();
      const email = t.make.email();
      meanwhile('verify', () => reset(user));
      const body = { new_email: email, current_password: PASSWORD };
      expect((await post('/auth/me/email', body, user.token)).body.code).toBe('invalid_token');
      expect(await t.mails(email)).toEqual([]);
    });

    it('T22: nor, in the same session, a change of the password', async () => {
      const user = await t.make.user();
      const email = t.make.email();
      const change = { current_password: PASSWORD, new_password: NEW_PASSWORD };
      meanwhile('verify', () => post('/auth/password/change', change, user.token));
      const body = { new_email: email, current_password: PASSWORD };
      expect((await post('/auth/me/email', body, user.token)).body.code).toBe('invalid_token');
      expect(await t.mails(email)).toEqual([]);
      const again = { ...body, current_password: NEW_PASSWORD };
      expect((await post('/auth/me/email', again, user.token)).status).toBe(200);
    });

    it('S6: two-factor authentication is not turned on, nor off, nor gets other backup codes after a reset', async () => {
      const user = await t.make.user();
      const { secret } = (await post('/auth/2fa/setup', {}, user.token)).body;
      meanwhile('digest', () => reset(user));
      const code = new AuthenticatorApp(secret, t).code();
      expect((await post('/auth/2fa/enable', { code }, user.token)).body.code).toBe('invalid_token');
      expect(await isOn(user)).toBe(false);

      for (const action of ['disable', 'backup-codes']) {
        const owner = await enrolled(t, {}, 1);
        meanwhile('verify', () => reset(owner));
        const body = { password: PASSWORD, code: owner.app.freshCode() };
        const answer = await post(`/auth/2fa/${action}`, body, owner.token);
        expect({ action, code: answer.body.code }).toEqual({ action, code: 'invalid_token' });
        expect(await isOn(owner)).toBe(true);
        const [backupCode] = owner.backupCodes;
        const login = { email: owner.email, password: NEW_PASSWORD, two_factor_code: backupCode };
        expect((await post('/auth/login', login)).status).toBe(200);
      }
    });
  });

  it.each([
    ['POST', '/auth/password/change', { current_password: PASSWORD, new_password: NEW_PASSWORD }],
    ['DELETE', '/auth/me', { password: PASSWORD }],
    ['DELETE', '/auth/sessions', undefined],
    ['PUT', '/auth/me', { first_name: 'Ada' }],
  ] as const)(
    'S4: of a session that has just ended elsewhere leave the account alone: %s %s',
    async (method, path, body) => {
      const user = await t.make.user();
      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(200);
      const other = await t.make.session(user.id);
      const stored = (): Promise<unknown> =>
        t.db.query(
          `SELECT users.*, (SELECT array_agg(id) FROM sessions WHERE user_id = users.id) AS sessions,
             (SELECT count(*) FROM audit_events WHERE subject_id = users.id) AS events
           FROM users WHERE id = $1`,
          [user.id],
        );
      await t.db.query('DELETE FROM sessions WHERE id = $1', [user.sessionId]);
      const before = await stored();
      const answer = await t.http.send(method, path, { bearer: user.token, ...(body && { body }) });
      expect(answer.body.code).toBe('invalid_token');
      expect(await stored()).toEqual(before);
      expect(before).toMatchObject([{ sessions: [other.sessionId] }]);
    },
  );

  it('T22: taking an account back ends a second factor that is being set up', async () => {
    const email = t.make.email();
    await post('/auth/register', { email, password: PASSWORD });
    const notMe = await mailed(email, 'not-me');
    const { access_token: token } = (await post('/auth/login', { email, password: PASSWORD })).body;
    expect((await post('/auth/2fa/setup', {}, token)).status).toBe(200);
    expect((await post('/auth/verify-email/not-me', { token: notMe })).status).toBe(200);
    const left = await t.db.query<unknown[]>(
      'SELECT 1 FROM two_factors JOIN users ON users.id = user_id WHERE email = $1',
      [email],
    );
    expect(left).toEqual([]);
  });

  it.each([
    ['POST', '/auth/api-keys', { name: 'another' }],
    ['POST', '/auth/api-keys/{id}/rotate', {}],
    ['PATCH', '/auth/api-keys/{id}', { monthly_budget_usd: null }],
    ['PUT', '/auth/usage/budget', { monthly_budget_usd: null }],
  ] as const)(
    'S4: of a session that has just ended elsewhere leave its keys and caps alone: %s %s',
    async (method, path, body) => {
      const user = await t.make.user({ monthlyBudgetUsd: '5' });
      const { id } = await t.make.apiKey({ userId: user.id, monthlyBudgetUsd: '1' });
      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(200);
      const stored = (): Promise<unknown> =>
        t.db.query(
          `SELECT users.monthly_budget_usd AS budget, key.*, version.id
         FROM users JOIN api_keys key ON user_id = users.id JOIN api_key_versions version ON api_key_id = key.id
         WHERE user_id = $1`,
          [user.id],
        );
      const before = await stored();
      await t.db.query('DELETE FROM sessions WHERE user_id = $1', [user.id]);
      const answer = await t.http.send(method, path.replace('{id}', id), { bearer: user.token, body });
      expect(answer.body.code).toBe('invalid_token');
      expect(await stored()).toEqual(before);
    },
  );

  describe('lock the account before anything else of it, so that no two wait for each other:', () => {
    const waiting = async (): Promise<boolean> => {
      const [row] = await t.db.query<{ count: number }[]>(
        `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return row?.count === 1;
    };

    type Send = () => Promise<Answer>;
    const registered = async (): Promise<string> => {
      const email = t.make.email();
      expect((await post('/auth/register', { email, password: PASSWORD })).status).toBe(200);
      return email;
    };
    const moving = async (): Promise<{ user: User; token: string }> => {
      const user = await t.make.user();
      const email = t.make.email();
      await post('/auth/me/email', { new_email: email, current_password: PASSWORD }, user.token);
      return { user, token: await mailed(email, 'confirm-email') };
    };
    const ways: Record<string, () => Promise<{ email: string; send: Send }>> = {
      'a change of the password': async () => {
        const { email, token } = await t.make.user();
        const body = { current_password: PASSWORD, new_password: NEW_PASSWORD };
        return { email, send: () => post('/auth/password/change', body, token) };
      },
      'asking for another address': async () => {
        const { email, token } = await t.make.user();
        const body = { new_email: t.make.email(), current_password: PASSWORD };
        return { email, send: () => post('/auth/me/email', body, token) };
      },
      'taking another address': async () => {
        const { user, token } = await moving();
        return { email: user.email, send: () => post('/auth/me/email/confirm', { token }) };
      },
      'taking the old address back': async () => {
        const { user, token } = await moving();
        expect((await post('/auth/me/email/confirm', { token })).status).toBe(200);
        const undo = await mailed(user.email, 'undo-email');
        const { email } = await t.db.findOneByOrFail(User, { id: user.id });
        return { email, send: () => post('/auth/me/email/undo', { token: undo }) };
      },
      'proving an address': async () => {
        const email = await registered();
        const token = await mailed(email, 'verify-email');
        return { email, send: () => post('/auth/verify-email', { token }) };
      },
      'proving an address by its code': async () => {
        const email = await registered();
        const [mail] = await t.mails(email);
        const code = /\b\d{6}\b/.exec(mail?.text ?? '')?.[0];
        return { email, send: () => post('/auth/verify-email', { email, code }) };
      },
      'saying "not me"': async () => {
        const email = await registered();
        const token = await mailed(email, 'not-me');
        return { email, send: () => post('/auth/verify-email/not-me', { token }) };
      },
    };

    it.each(Object.keys(ways))('%s', async (way) => {
      const { email, send } = await (ways[way] as () => Promise<{ email: string; send: Send }>)();
      await t.settled();
      const runner = t.db.dataSource.createQueryRunner();
      try {
        await runner.startTransaction();
        const [row] = (await runner.query('SELECT id FROM users WHERE email = $1 FOR UPDATE', [email])) as {
          id: string;
        }[];
        const answer = send();
        while (!(await waiting()));
        await runner.query('SELECT 1 FROM one_time_tokens WHERE user_id = $1 FOR UPDATE NOWAIT', [row?.id]);
        await runner.query('SELECT 1 FROM attempt_counts FOR UPDATE NOWAIT');
        await runner.commitTransaction();
        expect((await answer).status).toBe(200);
      } finally {
        if (runner.isTransactionActive) await runner.rollbackTransaction();
        await runner.release();
      }
    });
  });
});
