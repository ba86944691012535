import { ATTEMPTS_MAX, LOCK_MS } from '../../src/limits/attempts';
import { Passwords } from '../../src/platform/crypto/passwords';
import { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

const NEW_PASSWORD = 'an entirely new one';

describe('passwords', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { SIGNUP_ENUMERATION_SAFE: 'true' } });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const login = (email: string, password: string, deviceToken?: string): Promise<Answer> =>
    t.http
      .from()
      .post('/auth/login', { body: { email, password, ...(deviceToken && { device_token: deviceToken }) } });
  const askForReset = async (email: string): Promise<Answer> => {
    const answer = await t.http.from().post('/auth/password/reset', { body: { email } });
    await t.settled();
    return answer;
  };
  const confirm = (token: unknown, password = NEW_PASSWORD): Promise<Answer> =>
    t.http.from().post('/auth/password/reset/confirm', { body: { token, new_password: password } });
  const mailedToken = async (email: string): Promise<string> => {
    const texts = (await t.mails(email)).map(({ text }) => text);
    return texts.flatMap((text) => /#token=([\w-]+)/.exec(text)?.[1] ?? [])[0] ?? '';
  };
  const me = async (bearer: string): Promise<number> =>
    (await t.http.from().get('/auth/me', { bearer })).status;

  describe('choosing one', () => {
    it.each([
      ['a common one', 'password123', 'most common'],
      ["the product's name", 'Cortex Auth', 'name of this product'],
    ])('refuses %s at sign-up, change and reset, with the reason', async (_what, password, reason) => {
      const user = await t.make.user();
      await askForReset(user.email);
      const answers = [
        await t.http.from().post('/auth/register', { body: { email: t.make.email(), password } }),
        await t.http.post('/auth/password/change', {
          bearer: user.token,
          body: { current_password: PASSWORD, new_password: password },
        }),
        await confirm(await mailedToken(user.email), password),
      ];
      for (const answer of answers) {
        expect(answer.status).toBe(400);
        expect(answer.body).toMatchObject({
          code: 'weak_password',
          detail: expect.stringContaining(reason) as string,
        });
      }
      expect((await confirm(await mailedToken(user.email))).status).toBe(200);
    });
  });

  describe('POST /auth/password/change', () => {
    it('compares the new password with its repetition, where there is one', async () => {
      const { token: bearer } = await t.make.user();
      const change = (confirm_password: string): Promise<Answer> =>
        t.http.post('/auth/password/change', {
          bearer,
          body: { current_password: PASSWORD, new_password: NEW_PASSWORD, confirm_password },
        });
      expect((await change('another good two')).body.errors).toEqual([
        { field: 'confirm_password', message: 'must be the same as new_password' },
      ]);
      expect((await change(NEW_PASSWORD)).status).toBe(200);
    });

    const change = (bearer: string, current: string, next = NEW_PASSWORD): Promise<Answer> =>
      t.http
        .from()
        .post('/auth/password/change', { bearer, body: { current_password: current, new_password: next } });

    it('replaces the password, ends all other sessions, keeps this one and the keys, and tells the user', async () => {
      const user = await t.make.user();
      const elsewhere = await login(user.email, PASSWORD);
      const { key } = await t.make.apiKey({ userId: user.id });
      expect((await change(user.token, PASSWORD)).status).toBe(200);

      expect((await login(user.email, PASSWORD)).status).toBe(401);
      expect((await login(user.email, NEW_PASSWORD)).status).toBe(200);
      expect(await me(elsewhere.body.access_token)).toBe(401);
      expect(await me(user.token)).toBe(200);
      const call = await t.http.post('/generate', {
        key,
        body: { user_id: 'u', prompt: 'hi', provider: 'echo' },
      });
      expect(call.status).toBe(200);
      expect((await t.mails(user.email)).map(({ subject }) => subject)).toEqual([
        'Your password was changed',
      ]);
    });

    it('T21: leaves the links of the verification mail working, for the owner of an address that somebody else signed up with', async () => {
      const link = async (address: string, page: string): Promise<string> => {
        const [mail] = (await t.mails(address)).filter(({ text }) => text.includes(`/${page}#token=`));
        return new RegExp(`/${page}#token=([\\w-]+)`).exec(mail?.text ?? '')?.[1] ?? '';
      };
      for (const [page, route] of [
        ['verify-email', 'verify-email'],
        ['not-me', 'verify-email/not-me'],
      ] as const) {
        const email = t.make.email();
        const http = t.http.from();
        await http.post('/auth/register', { body: { email, password: PASSWORD } });
        const token = await link(email, page);
        const login = await http.post('/auth/login', { body: { email, password: PASSWORD } });
        const body = { current_password: PASSWORD, new_password: 'an entirely new one' };
        const changed = await http.post('/auth/password/change', { bearer: login.body.access_token, body });
        expect(changed.status).toBe(200);
        expect((await http.post(`/auth/${route}`, { body: { token } })).status).toBe(200);
      }
    });

    it('does not count a right one whose new password is refused', async () => {
      const user = await t.make.user();
      for (let i = 0; i <= ATTEMPTS_MAX; i++) {
        expect((await change(user.token, PASSWORD, 'password123')).body.code).toBe('weak_password');
      }
      expect((await change(user.token, PASSWORD)).status).toBe(200);
    });

    it('needs the current password, and counts a wrong one as a guess', async () => {
      const user = await t.make.user();
      for (let i = 0; i < ATTEMPTS_MAX; i++)
        expect((await change(user.token, `wrong ${i}`)).body.code).toBe('wrong_password');
      expect((await change(user.token, PASSWORD)).body.code).toBe('wrong_password');
      expect((await login(user.email, PASSWORD)).status).toBe(401);
      t.clock.advance(LOCK_MS);
      expect((await login(user.email, PASSWORD)).status).toBe(200);
    });
  });

  describe('POST /auth/password/reset', () => {
    it('T16: answers the same for known, unknown and suspended addresses, and mails only the first', async () => {
      const [known, suspended] = [await t.make.user(), await t.make.user({ isActive: false })];
      const unknown = t.make.email();
      const answers = await Promise.all([known.email, suspended.email, unknown].map(askForReset));
      for (const { status, text } of answers)
        expect({ status, text }).toEqual({ status: 200, text: answers[0]?.text });
      expect(await t.mails(known.email)).toHaveLength(1);
      expect(await t.mails(suspended.email)).toHaveLength(0);
      expect(await t.mails(unknown)).toHaveLength(0);
    });

    it('is slowed down to five an hour per address of the account, however it is spelled', async () => {
      const { email } = await t.make.user();
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, i) => askForReset(i % 2 ? email : email.toUpperCase())),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
      expect(answers.filter(({ status }) => status === 429)).toHaveLength(5);
      // Cut to size it would be the same address, with a limit of its own.
      expect((await askForReset(email.padEnd(300))).status).toBe(400);
      expect((await t.mails(email)).length).toBeLessThanOrEqual(5);
    });
  });

  describe('POST /auth/password/reset/confirm', () => {
    it('sets the password, ends all sessions, keeps the keys of a proven address, and tells the user', async () => {
      const user = await t.make.user();
      const { key } = await t.make.apiKey({ userId: user.id });
      await askForReset(user.email);
      expect((await confirm(await mailedToken(user.email))).status).toBe(200);
      expect(await me(user.token)).toBe(401);
      expect((await login(user.email, PASSWORD)).status).toBe(401);
      expect((await login(user.email, NEW_PASSWORD)).status).toBe(200);
      expect(
        (await t.http.post('/generate', { key, body: { user_id: 'u', prompt: 'hi', provider: 'echo' } }))
          .status,
      ).toBe(200);
      expect((await t.mails(user.email)).map(({ subject }) => subject)).toEqual([
        'Your password was changed',
        'Choose a new password',
      ]);
    });

    it('works once, of fifty tries at once (T4)', async () => {
      const { email } = await t.make.user();
      await askForReset(email);
      const token = await mailedToken(email);
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) => confirm(token, `a new one, number ${i}`)),
      );
      const winners = answers.flatMap(({ status }, i) => (status === 200 ? [i] : []));
      expect(winners).toHaveLength(1);
      expect((await login(email, `a new one, number ${winners[0] ?? ''}`)).status).toBe(200);
    });

    it('dies after 15 minutes, and when a newer one is asked for', async () => {
      const { email } = await t.make.user();
      await askForReset(email);
      const first = await mailedToken(email);
      await askForReset(email);
      expect((await confirm(first)).status).toBe(400);
      t.clock.advance(15 * 60_000 + 1);
      expect((await confirm(await mailedToken(email))).status).toBe(400);
      expect((await login(email, PASSWORD)).status).toBe(200);
    });

    it('leaves a suspended account as it is (7.4.2)', async () => {
      const user = await t.make.user();
      await askForReset(user.email);
      const token = await mailedToken(user.email);
      await t.db.update(User, { id: user.id }, { isActive: false });
      expect((await confirm(token)).body.code).toBe('invalid_reset_token');
      expect((await t.mails(user.email)).map(({ subject }) => subject)).toEqual(['Choose a new password']);
      await t.db.update(User, { id: user.id }, { isActive: true });
      expect((await login(user.email, PASSWORD)).status).toBe(200);
    });

    it('takes no token of another purpose or user, and none that is missing (T24)', async () => {
      const email = t.make.email();
      await t.http.from().post('/auth/register', { body: { email, password: PASSWORD } });
      const verification = await mailedToken(email);
      const { refreshToken, token } = await t.make.user();
      for (const text of [verification, refreshToken, token, '', 'x'])
        expect((await confirm(text)).status).toBe(400);
      for (const text of [undefined, null, [], {}, 1]) expect((await confirm(text)).status).toBe(400);
      await askForReset(email);
      const reset = await mailedToken(email);
      expect((await t.http.from().post('/auth/verify-email', { body: { token: reset } })).status).toBe(400);
      expect((await confirm(reset)).status).toBe(200);
    });

    it('ends what was made before the address was proven: password, sessions and keys of whoever signed up with it (T21)', async () => {
      const email = t.make.email();
      await t.http.from().post('/auth/register', { body: { email, password: 'the attacker chose this' } });
      const attacker = await login(email, 'the attacker chose this');
      const created = await t.http.post('/auth/api-keys', {
        bearer: attacker.body.access_token,
        body: { name: 'waiting' },
      });

      await askForReset(email);
      await confirm(await mailedToken(email));
      t.known();
      expect((await login(email, 'the attacker chose this')).status).toBe(401);
      expect(await me(attacker.body.access_token)).toBe(401);
      const call = await t.http.post('/generate', {
        key: created.body.api_key,
        body: { user_id: 'u', prompt: 'hi', provider: 'echo' },
      });
      expect(call.status).toBe(401);
      expect((await login(email, NEW_PASSWORD)).body.user).toMatchObject({ email, is_verified: true });
    });
  });

  describe('guessing', () => {
    it('compares at most the cap, of a hundred wrong passwords at once, and then not even the right one (T13)', async () => {
      const { email } = await t.make.user();
      const compared = t.apps.map((app) => jest.spyOn(app.get(Passwords), 'verify'));
      const wrong = await Promise.all(Array.from({ length: 100 }, (_, i) => login(email, `wrong ${i}`)));
      const hashes = compared.flatMap(({ mock }) => mock.calls).filter(([hash]) => hash !== undefined).length;
      for (const spy of compared) spy.mockRestore();
      expect(hashes).toBe(ATTEMPTS_MAX);

      const right = await login(email, PASSWORD);
      expect(right.status).toBe(401);
      expect({ ...right.body, request_id: '' }).toEqual({ ...wrong[0]?.body, request_id: '' });
      t.clock.advance(LOCK_MS);
      expect((await login(email, PASSWORD)).status).toBe(200);
    });

    itAlone('own-second')('is counted over two processes together', async () => {
      const other = await startTestApp({ databaseUrl: t.databaseUrl });
      try {
        const { email } = await t.make.user();
        const compared = [
          jest.spyOn(t.app.get(Passwords), 'verify'),
          jest.spyOn(other.app.get(Passwords), 'verify'),
        ];
        await Promise.all(
          Array.from({ length: 60 }, (_, i) =>
            (i % 2 ? t : other).http.from().post('/auth/login', { body: { email, password: `wrong ${i}` } }),
          ),
        );
        const hashes = compared
          .flatMap((spy) => spy.mock.calls)
          .filter(([hash]) => hash !== undefined).length;
        compared.forEach((spy) => {
          spy.mockRestore();
        });
        expect(hashes).toBe(ATTEMPTS_MAX);
      } finally {
        await other.close();
      }
    });

    it('is not counted when it was right', async () => {
      const { email } = await t.make.user();
      for (let i = 0; i < ATTEMPTS_MAX + 5; i++) expect((await login(email, PASSWORD)).status).toBe(200);
    });

    it('cannot lock the owner out of a device he used before (T12)', async () => {
      const { email } = await t.make.user();
      const device = (await login(email, PASSWORD)).body.device_token as string;
      const stranger = (await login((await t.make.user()).email, PASSWORD)).body.device_token as string;
      await Promise.all(Array.from({ length: 30 }, (_, i) => login(email, `wrong ${i}`)));
      expect((await login(email, PASSWORD)).status).toBe(401);
      expect((await login(email, PASSWORD, stranger)).status).toBe(401);
      expect((await login(email, PASSWORD, device)).status).toBe(200);
    });

    it('cannot lock the owner out of a reset (T12)', async () => {
      const { email } = await t.make.user();
      await Promise.all(Array.from({ length: 30 }, (_, i) => login(email, `wrong ${i}`)));
      await askForReset(email);
      await confirm(await mailedToken(email));
      expect((await login(email, NEW_PASSWORD)).status).toBe(200);
    });

    it('of an address nobody has is counted too', async () => {
      const email = t.make.email();
      await Promise.all(Array.from({ length: 30 }, () => login(email, 'whatever it is')));
      const [row] = await t.db.query<{ max: number }[]>('SELECT max(taken) FROM attempt_counts');
      expect(row?.max).toBe(ATTEMPTS_MAX);
    });
  });
});
