import { ATTEMPTS_MAX } from '../../src/limits/attempts';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';
import { AuthenticatorApp } from '../support/two-factor';

const DAY_MS = 24 * 60 * 60 * 1_000;
const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };
type Made = Awaited<ReturnType<TestApp['make']['user']>>;

describe('T22: a change of the e-mail address', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { SIGNUP_ENUMERATION_SAFE: 'true' } });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const request = async (bearer: string, newEmail: string, password = PASSWORD): Promise<Answer> => {
    const body = { new_email: newEmail, current_password: password };
    const answer = await t.http.from().post('/auth/me/email', { bearer, body });
    await t.settled();
    return answer;
  };
  const post = (path: string, token: string): Promise<Answer> =>
    t.http.from().post(path, { body: { token } });
  const confirm = (token: string): Promise<Answer> => post('/auth/me/email/confirm', token);
  const undo = (token: string): Promise<Answer> => post('/auth/me/email/undo', token);
  const linkIn = async (address: string, page: string): Promise<string> => {
    const mails = await t.mails(address);
    const links = mails.flatMap(({ text }) => new RegExp(`/${page}#token=([\\w-]+)`).exec(text)?.[1] ?? []);
    return links[0] ?? '';
  };
  const subjects = async (address: string): Promise<string[]> =>
    (await t.mails(address)).map(({ subject }) => subject);
  const emailOf = async ({ id }: { id: string }): Promise<string> =>
    (await t.db.findOneByOrFail(User, { id })).email;
  const login = (email: string, password = PASSWORD): Promise<Answer> =>
    t.http.from().post('/auth/login', { body: { email, password } });
  const me = async (bearer: string): Promise<number> =>
    (await t.http.from().get('/auth/me', { bearer })).status;
  const call = async (key: string): Promise<number> =>
    (await t.http.from().post('/generate', { key, body: CALL })).status;

  /** A user who has moved to another address; his old one has the link that undoes it. */
  const moved = async (fields: Partial<User> = {}): Promise<{ user: Made; old: string; email: string }> => {
    const user = await t.make.user(fields);
    const email = t.make.email();
    await request(user.token, email);
    expect((await confirm(await linkIn(email, 'confirm-email'))).status).toBe(200);
    return { user, old: user.email, email };
  };

  it('happens when the new address has proven itself, not before, and the old one is told', async () => {
    const user = await t.make.user();
    const email = t.make.email();
    expect((await request(user.token, email.toUpperCase())).status).toBe(200);
    expect(await emailOf(user)).toBe(user.email);
    expect(await subjects(user.email)).toEqual([]);
    expect(await subjects(email)).toEqual(['Confirm your new e-mail address']);

    expect((await confirm(await linkIn(email, 'confirm-email'))).status).toBe(200);
    expect(await emailOf(user)).toBe(email);
    expect(await subjects(user.email)).toEqual(['Your e-mail address was changed']);
    expect(await me(user.token)).toBe(200);
    expect((await login(user.email)).status).toBe(401);
    expect((await login(email)).body.user).toMatchObject({ id: user.id, email, is_verified: true });
    const events = await t.db.findBy(AuditEvent, { subjectId: user.id });
    expect(events.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['email.change_requested', 'email.changed']),
    );
  });

  it('mails a stranger five times an hour at most, whoever asks and however the address is spelled', async () => {
    const email = t.make.email();
    const statuses: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      const { token } = await t.make.user();
      statuses.push((await request(token, i % 2 ? email.toUpperCase() : email)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await subjects(email)).toHaveLength(5);
    expect((await request((await t.make.user()).token, t.make.email())).status).toBe(200);
  });

  it('needs the password, and counts a wrong one as a guess', async () => {
    const user = await t.make.user();
    const email = t.make.email();
    for (let i = 0; i < ATTEMPTS_MAX; i += 1) {
      const answer = await t.http.from().post('/auth/login', { body: { email: user.email, password: 'no' } });
      expect(answer.status).toBe(401);
    }
    expect((await request(user.token, email)).body.code).toBe('wrong_password');
    const other = await t.make.user();
    expect((await request(other.token, email, 'wrong')).body.code).toBe('wrong_password');
    expect(await subjects(email)).toEqual([]);
    expect((await t.http.from().post('/auth/me/email', { body: {} })).status).toBe(401);
    expect((await request(other.token, other.email)).body.code).toBe('email_unchanged');
  });

  it('T16: answers the same for a new address that somebody has; its owner is told, and no link can take it', async () => {
    const [user, owner] = [await t.make.user(), await t.make.user()];
    const free = t.make.email();
    const [taken, fresh] = [await request(user.token, owner.email), await request(user.token, free)];
    const shown = ({ status, text }: Answer): unknown => ({ status, text });
    expect(shown(taken)).toEqual(shown(fresh));
    expect(await subjects(owner.email)).toEqual(['Somebody tried to sign up with your address']);

    const token = await linkIn(free, 'confirm-email');
    await t.http.from().post('/auth/register', { body: { email: free, password: PASSWORD } });
    const refused = await confirm(token);
    expect({ ...refused.body, request_id: '' }).toEqual({ ...(await confirm('x')).body, request_id: '' });
    expect(await emailOf(user)).toBe(user.email);
  });

  it('T4: happens once, of twenty uses of a link at once, and by the newest link only', async () => {
    const user = await t.make.user();
    const email = t.make.email();
    await request(user.token, t.make.email());
    await request(user.token, email);
    const token = await linkIn(email, 'confirm-email');
    const answers = await Promise.all(Array.from({ length: 20 }, () => confirm(token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(await subjects(user.email)).toHaveLength(1);

    const links = [await linkIn(user.email, 'undo-email'), token];
    for (const link of links) expect((await confirm(link)).status).toBe(400);
    for (const path of ['/auth/verify-email', '/auth/verify-email/not-me', '/auth/me/email/undo'])
      expect((await post(path, token)).status).toBe(400);
  });

  it('is given to one, of two accounts that prove the same address at once', async () => {
    const users = [await t.make.user(), await t.make.user()];
    const email = t.make.email();
    const tokens: string[] = [];
    for (const { token } of users) {
      await request(token, email);
      tokens.push(await linkIn(email, 'confirm-email'));
    }
    const answers = await Promise.all(tokens.map(confirm));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
    expect(await t.db.countBy(User, { email })).toBe(1);
  });

  it('dies with its hour, with a new password, and with the account', async () => {
    const late = await t.make.user();
    const email = t.make.email();
    await request(late.token, email);
    t.clock.advance(60 * 60_000 + 1_000);
    expect((await confirm(await linkIn(email, 'confirm-email'))).status).toBe(400);
    t.clock.reset();

    const changed = await t.make.user();
    await request(changed.token, email);
    await t.http.from().post('/auth/password/change', {
      bearer: changed.token,
      body: { current_password: PASSWORD, new_password: 'an entirely new one' },
    });
    expect((await confirm(await linkIn(email, 'confirm-email'))).status).toBe(400);

    const suspended = await t.make.user();
    await request(suspended.token, email);
    await t.db.update(User, { id: suspended.id }, { isActive: false });
    expect((await confirm(await linkIn(email, 'confirm-email'))).status).toBe(400);
    for (const user of [late, changed, suspended]) expect(await emailOf(user)).toBe(user.email);
  });

  it('ends, before it is confirmed, with the other sessions and when a second factor is turned on (S6)', async () => {
    const ways = {
      'DELETE /auth/sessions': (bearer: string) => t.http.from().send('DELETE', '/auth/sessions', { bearer }),
      'POST /auth/2fa/enable': async (bearer: string) => {
        const { secret } = (await t.http.from().post('/auth/2fa/setup', { bearer })).body;
        const body = { code: new AuthenticatorApp(secret, t).code() };
        return t.http.from().post('/auth/2fa/enable', { bearer, body });
      },
    };
    for (const [way, end] of Object.entries(ways)) {
      const user = await t.make.user();
      const thief = t.make.accessToken(user.id, (await t.make.session(user.id)).sessionId);
      const email = t.make.email();
      expect((await request(thief, email)).status).toBe(200);
      const token = await linkIn(email, 'confirm-email');
      expect({ way, status: (await end(user.token)).status }).toEqual({ way, status: 200 });
      expect({ way, code: (await confirm(token)).body.code }).toEqual({ way, code: 'invalid_email_token' });
      expect(await emailOf(user)).toBe(user.email);
    }
  });

  it('ends what else was mailed to the account', async () => {
    const user = await t.make.user();
    await t.http.from().post('/auth/password/reset', { body: { email: user.email } });
    const reset = await linkIn(user.email, 'reset-password');
    const email = t.make.email();
    await request(user.token, email);
    await confirm(await linkIn(email, 'confirm-email'));
    const answer = await t.http
      .from()
      .post('/auth/password/reset/confirm', { body: { token: reset, new_password: 'an entirely new one' } });
    expect(answer.status).toBe(400);
  });

  describe('undone by the old address', () => {
    it('gives it back, and ends the password, the sessions and the keys made or rotated since', async () => {
      const user = await t.make.user();
      const earlier = { userId: user.id, createdAt: new Date(t.clock.nowMs() - DAY_MS) };
      const [{ key: older }, rotated] = [await t.make.apiKey(earlier), await t.make.apiKey(earlier)];
      const email = t.make.email();
      await request(user.token, email);
      await confirm(await linkIn(email, 'confirm-email'));
      const thief = await login(email);
      const created = await t.http.post('/auth/api-keys', {
        bearer: thief.body.access_token,
        body: { name: 'waiting' },
      });
      const copied = await t.http.post(`/auth/api-keys/${rotated.id}/rotate`, {
        bearer: thief.body.access_token,
        body: {},
      });

      const link = await linkIn(user.email, 'undo-email');
      t.clock.advance(7 * DAY_MS - 60_000);
      expect((await undo(link)).status).toBe(200);
      t.clock.reset();
      t.known();
      expect(await emailOf(user)).toBe(user.email);
      for (const token of [user.token, thief.body.access_token as string]) expect(await me(token)).toBe(401);
      for (const address of [user.email, email]) expect((await login(address)).status).toBe(401);
      for (const { body } of [created, copied]) expect(await call(body.api_key)).toBe(401);
      expect(await call(older)).toBe(200);

      const reset = await linkIn(user.email, 'reset-password');
      const body = { token: reset, new_password: 'an entirely new one' };
      expect((await t.http.from().post('/auth/password/reset/confirm', { body })).status).toBe(200);
      expect((await login(user.email, 'an entirely new one')).status).toBe(200);
    });

    it('mails a link to a new password, and says that the old one has ended', async () => {
      const { old } = await moved();
      expect((await undo(await linkIn(old, 'undo-email'))).status).toBe(200);
      const [mail] = await t.mails(old);
      expect(mail?.subject).toBe('You have your account back: choose a new password');
      expect(mail?.text).not.toContain('stays as it is');
      const reset = { token: await linkIn(old, 'reset-password'), new_password: 'an entirely new one' };
      expect((await t.http.from().post('/auth/password/reset/confirm', { body: reset })).status).toBe(200);
      expect((await login(old, 'an entirely new one')).status).toBe(200);
    });

    it('works for seven days and once, of twenty tries at once', async () => {
      const late = await linkIn((await moved()).old, 'undo-email');
      t.clock.advance(7 * DAY_MS + 1_000);
      expect((await undo(late)).status).toBe(400);
      t.clock.reset();

      const { old } = await moved();
      const token = await linkIn(old, 'undo-email');
      const answers = await Promise.all(Array.from({ length: 20 }, () => undo(token)));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    });

    it('outlives further changes, and ends what would undo those', async () => {
      const { user, old, email } = await moved();
      const third = t.make.email();
      await request(user.token, third);
      await confirm(await linkIn(third, 'confirm-email'));
      const ofThief = await linkIn(email, 'undo-email');
      expect((await undo(await linkIn(old, 'undo-email'))).status).toBe(200);
      expect((await undo(ofThief)).status).toBe(400);
      expect(await emailOf(user)).toBe(old);
    });

    it('does not end with an undoing of a later change', async () => {
      const { user, old, email } = await moved();
      const third = t.make.email();
      await request(user.token, third);
      await confirm(await linkIn(third, 'confirm-email'));
      expect((await undo(await linkIn(email, 'undo-email'))).status).toBe(200);
      expect(await emailOf(user)).toBe(email);
      expect((await undo(await linkIn(old, 'undo-email'))).status).toBe(200);
      expect(await emailOf(user)).toBe(old);
    });

    it('outlives a reset of the password by whoever has the new address', async () => {
      const { user, old, email } = await moved();
      await t.http.from().post('/auth/password/reset', { body: { email } });
      const body = { token: await linkIn(email, 'reset-password'), new_password: 'the thief chose this' };
      expect((await t.http.from().post('/auth/password/reset/confirm', { body })).status).toBe(200);
      expect((await undo(await linkIn(old, 'undo-email'))).status).toBe(200);
      expect(await emailOf(user)).toBe(old);
      expect((await login(old, 'the thief chose this')).status).toBe(401);
    });

    it('is not stopped by a sign-up with the old address that was never proven', async () => {
      const { user, old } = await moved();
      const body = { email: old, password: 'the thief chose this' };
      const { id } = (await t.http.from().post('/auth/register', { body })).body;
      // Where the account of that sign-up goes then.
      const blocking = await t.http
        .from()
        .post('/auth/register', { body: { ...body, email: `${id}@released.invalid` } });
      expect(blocking.status).toBe(400);
      const squatter = await login(old, 'the thief chose this');
      const token = await linkIn(old, 'undo-email');
      expect((await undo(token)).status).toBe(200);
      expect(await emailOf(user)).toBe(old);
      expect(await me(squatter.body.access_token)).toBe(401);
      expect((await login(old, 'the thief chose this')).status).toBe(401);
    });

    it('cannot take the address from somebody who has proven it since', async () => {
      const { user, old, email } = await moved();
      const token = await linkIn(old, 'undo-email');
      await t.http.from().post('/auth/register', { body: { email: old, password: PASSWORD } });
      await post('/auth/verify-email', await linkIn(old, 'verify-email'));
      expect((await undo(token)).status).toBe(400);
      expect(await emailOf(user)).toBe(email);
    });

    it('is not offered to an address that was never proven: it may be a stranger', async () => {
      const { user, old, email } = await moved({ isVerified: false });
      expect(await subjects(old)).toEqual([]);
      expect(await emailOf(user)).toBe(email);
    });
  });

  it.each(['confirm-email', 'undo-email', 'not-me', 'reset-password'])(
    'has a page at /%s that changes nothing by itself',
    async (page) => {
      const { status, headers, text } = await t.http.get(`/${page}`);
      expect(status).toBe(200);
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(text).toContain('<button>');
    },
  );

  it('T24: takes no token that is missing, empty or a list', async () => {
    for (const path of ['/auth/me/email/confirm', '/auth/me/email/undo', '/auth/verify-email/not-me']) {
      for (const token of [undefined, null, '', [], ['x'], {}, 1]) {
        expect((await t.http.from().post(path, { body: { token } })).status).toBe(400);
      }
    }
  });
});
