import { ATTEMPTS_MAX, LOCK_JOB, LOCK_MS } from '../../src/limits/attempts';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { makeJobsDue } from '../support/jobs';
import { startTestApp, type TestApp } from '../support/test-app';

const NEW_PASSWORD = 'an entirely new one';
const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };

describe('what the owner is told', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { SIGNUP_ENUMERATION_SAFE: 'true' } });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const post = (path: string, body: object, bearer?: string): Promise<Answer> =>
    t.http.from().post(path, { body, ...(bearer !== undefined && { bearer }) });
  const login = (email: string, password: string): Promise<Answer> =>
    post('/auth/login', { email, password });
  const subjects = async (address: string): Promise<string[]> =>
    (await t.mails(address)).map(({ subject }) => subject);
  const events = async (id: string): Promise<AuditEvent[]> =>
    t.db.find(AuditEvent, { where: { subjectId: id }, order: { id: 'ASC' } });
  const actions = async (id: string): Promise<string[]> => (await events(id)).map(({ action }) => action);
  const linkIn = async (address: string, page: string): Promise<string> => {
    const mails = await t.mails(address);
    return mails.flatMap(({ text }) => new RegExp(`/${page}#token=([\\w-]+)`).exec(text)?.[1] ?? [])[0] ?? '';
  };

  it('records a change and a reset of the password with its request', async () => {
    const user = await t.make.user();
    await post(
      '/auth/password/change',
      { current_password: PASSWORD, new_password: NEW_PASSWORD },
      user.token,
    );
    await post('/auth/password/reset', { email: user.email });
    const token = await linkIn(user.email, 'reset-password');
    const confirmed = await post('/auth/password/reset/confirm', { token, new_password: PASSWORD });

    const found = await events(user.id);
    expect(found).toMatchObject([
      { action: 'password.changed', actor: user.id, result: 'success' },
      { action: 'password.reset_requested', actor: null, result: 'success' },
      { action: 'password.reset', actor: user.id, result: 'success' },
    ]);
    expect(found[2]?.requestId).toBe(confirmed.headers.get('x-request-id'));
    expect(await subjects(user.email)).toEqual([
      'Your password was changed',
      'Choose a new password',
      'Your password was changed',
    ]);
  });

  describe('a lock by wrong guesses', () => {
    const SUBJECT = 'Somebody tries to guess your password';
    const guess = async (email: string, times: number): Promise<void> => {
      await Promise.all(Array.from({ length: times }, (_, i) => login(email, `wrong ${i}`)));
    };
    const locks = async (): Promise<number> => {
      const [row] = await t.db.query<{ count: string }[]>('SELECT count(*) FROM pgboss.job WHERE name = $1', [
        LOCK_JOB,
      ]);
      return Number(row?.count);
    };

    it('T11: is recorded and mailed once, however many guess at once or go on guessing', async () => {
      const user = await t.make.user();
      for (const times of [ATTEMPTS_MAX + 10, 3]) {
        await guess(user.email, times);
        await makeJobsDue(t.db);
        expect(await subjects(user.email)).toEqual([SUBJECT]);
      }
      const [event, ...more] = await events(user.id);
      expect(event).toMatchObject({ action: 'account.locked', actor: null, result: 'failure' });
      expect(event?.requestId).not.toBeNull();
      expect(more).toEqual([]);
      // A process that died before its job was done leaves it to another.
      await t.db.query(`UPDATE pgboss.job SET state = 'created', completed_on = NULL WHERE name = $1`, [
        LOCK_JOB,
      ]);
      expect(await subjects(user.email)).toEqual([SUBJECT]);

      t.clock.advance(LOCK_MS);
      await guess(user.email, ATTEMPTS_MAX);
      await makeJobsDue(t.db);
      expect(await subjects(user.email)).toEqual([SUBJECT, SUBJECT]);
    });

    it('is none when the last attempt was right', async () => {
      const user = await t.make.user();
      await guess(user.email, ATTEMPTS_MAX - 1);
      expect((await login(user.email, PASSWORD)).status).toBe(200);
      await makeJobsDue(t.db);
      expect(await subjects(user.email)).toEqual([]);
    });

    it('T16, T17: of an address that nobody has makes the same job, and no mail', async () => {
      const email = t.make.email();
      const before = await locks();
      await guess(email, ATTEMPTS_MAX + 1);
      expect(await locks()).toBe(before + 1);
      await makeJobsDue(t.db);
      expect(await subjects(email)).toEqual([]);
    });
  });

  it('records the end of sessions, once each', async () => {
    const user = await t.make.user();
    const other = await t.make.session(user.id);
    for (let i = 0; i < 2; i += 1)
      await t.http.delete(`/auth/sessions/${other.sessionId}`, { bearer: user.token });
    await t.http.delete('/auth/sessions', { bearer: user.token });
    await post('/auth/logout', {}, user.token);
    expect(await events(user.id)).toMatchObject([
      { action: 'session.ended', targetId: other.sessionId },
      { action: 'sessions.ended_others' },
      { action: 'session.ended', targetId: user.sessionId },
    ]);
  });

  it('records and mails a refresh token that is used twice, once', async () => {
    const user = await t.make.user();
    await post('/auth/refresh', { refresh_token: user.refreshToken });
    t.clock.advance(11_000);
    await Promise.all(
      Array.from({ length: 5 }, () => post('/auth/refresh', { refresh_token: user.refreshToken })),
    );
    expect(await events(user.id)).toMatchObject([
      { action: 'refresh.reuse', actor: null, targetId: user.sessionId, result: 'failure' },
    ]);
    expect(await subjects(user.email)).toEqual(['A session was ended for your safety']);
  });

  it('mails what an admin does to the account, once however often it is done', async () => {
    const admin = await t.make.user({ role: 'admin' });
    const user = await t.make.user();
    const act = (path: string): Promise<Answer> =>
      t.http.post(`/admin/users/${user.id}/${path}`, { bearer: admin.token });
    for (let i = 0; i < 2; i += 1) await act('suspend');
    for (let i = 0; i < 2; i += 1) await act('restore');
    await t.http.delete(`/admin/users/${user.id}/sessions`, { bearer: admin.token });
    expect(await subjects(user.email)).toEqual(
      expect.arrayContaining([
        'You were logged out everywhere',
        'Your account works again',
        'Your account was suspended',
      ]),
    );
    expect(await t.mails(user.email)).toHaveLength(3);
  });

  it('mails that a key was made, rotated and deactivated, once each and without the key', async () => {
    const user = await t.make.user();
    const created = await post('/auth/api-keys', { name: 'Tom & "Jerry"' }, user.token);
    const id = created.body.api_key_info.id as string;
    const rotated = await post(`/auth/api-keys/${id}/rotate`, {}, user.token);
    for (let i = 0; i < 2; i += 1) await t.http.delete(`/auth/api-keys/${id}`, { bearer: user.token });
    expect((await subjects(user.email)).sort()).toEqual([
      'An API key was deactivated',
      'An API key was made',
      'An API key was rotated',
    ]);
    const texts = (await t.mails(user.email)).map(({ text, html }) => text + html).join();
    expect(texts).toContain('"Tom & "Jerry""');
    for (const { body } of [created, rotated]) expect(texts).not.toContain(body.api_key);
  });

  it('is nothing of what somebody does who has not proven the address: it may be a stranger', async () => {
    const user = await t.make.user({ isVerified: false });
    const { body } = await post('/auth/api-keys', { name: 'Pay here: https://evil.test' }, user.token);
    await post(`/auth/api-keys/${body.api_key_info.id}/rotate`, {}, user.token);
    const change = { current_password: PASSWORD, new_password: NEW_PASSWORD };
    expect((await post('/auth/password/change', change, user.token)).status).toBe(200);
    expect((await events(user.id)).length).toBe(3);
    expect(await subjects(user.email)).toEqual([]);
  });

  describe('T21: of an account that somebody made with his address', () => {
    const hijack = async (): Promise<{ email: string; token: string; key: string; id: string }> => {
      const email = t.make.email();
      await post('/auth/register', { email, password: 'the attacker chose this' });
      const { body } = await login(email, 'the attacker chose this');
      const token = body.access_token as string;
      const created = await post('/auth/api-keys', { name: 'waiting' }, token);
      await post(
        '/auth/me/email',
        { new_email: t.make.email(), current_password: 'the attacker chose this' },
        token,
      );
      return { email, token, key: created.body.api_key as string, id: body.user.id as string };
    };
    const isShutOut = async ({
      email,
      token,
      key,
    }: {
      email: string;
      token: string;
      key: string;
    }): Promise<void> => {
      t.known();
      expect((await login(email, 'the attacker chose this')).status).toBe(401);
      expect((await t.http.from().get('/auth/me', { bearer: token })).status).toBe(401);
      expect((await t.http.from().post('/generate', { key, body: CALL })).status).toBe(401);
    };
    const pending = (userId: string): Promise<unknown[]> =>
      t.db.query(
        `SELECT purpose FROM one_time_tokens WHERE user_id = $1 AND used_at IS NULL AND purpose <> 'sign_up_attempt'`,
        [userId],
      );

    it('a reset ends everything: password, sessions, keys and what was mailed', async () => {
      const made = await hijack();
      await post('/auth/password/reset', { email: made.email });
      const token = await linkIn(made.email, 'reset-password');
      const confirmed = await post('/auth/password/reset/confirm', { token, new_password: NEW_PASSWORD });
      expect(confirmed.status).toBe(200);
      await isShutOut(made);
      expect(await pending(made.id)).toEqual([]);
      expect((await login(made.email, NEW_PASSWORD)).body.user).toMatchObject({ is_verified: true });
    });

    it('a verification keeps it; "it was not me" ends it, also afterwards, and once', async () => {
      const made = await hijack();
      await post('/auth/verify-email', { token: await linkIn(made.email, 'verify-email') });
      expect((await t.http.from().post('/generate', { key: made.key, body: CALL })).status).toBe(200);

      const token = await linkIn(made.email, 'not-me');
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => post('/auth/verify-email/not-me', { token })),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      await isShutOut(made);
      expect(await pending(made.id)).toEqual([]);
      expect(await actions(made.id)).toContain('account.disowned');

      await post('/auth/password/reset', { email: made.email });
      const reset = await linkIn(made.email, 'reset-password');
      await post('/auth/password/reset/confirm', { token: reset, new_password: NEW_PASSWORD });
      expect((await login(made.email, NEW_PASSWORD)).body.user).toMatchObject({ is_verified: true });
    });

    it('"it was not me" works for a day, and not once the owner has set a password of his own', async () => {
      const made = await hijack();
      const token = await linkIn(made.email, 'not-me');
      t.clock.advance(24 * 60 * 60_000 + 1_000);
      expect((await post('/auth/verify-email/not-me', { token })).status).toBe(400);
      t.clock.reset();
      await post('/auth/password/reset', { email: made.email });
      const reset = await linkIn(made.email, 'reset-password');
      await post('/auth/password/reset/confirm', { token: reset, new_password: NEW_PASSWORD });
      expect((await post('/auth/verify-email/not-me', { token })).status).toBe(400);
      expect((await login(made.email, NEW_PASSWORD)).status).toBe(200);
    });

    it('a session that another process still believes makes no key after the reset', async () => {
      const other = await startTestApp({ databaseUrl: t.databaseUrl });
      try {
        const made = await hijack();
        const key = await t.db.query<{ id: string }[]>('SELECT id FROM api_keys WHERE user_id = $1', [
          made.id,
        ]);
        await post('/auth/password/reset', { email: made.email });
        const token = await linkIn(made.email, 'reset-password');
        const { bearer } = { bearer: made.token };
        // Its clock stands still, so it stays within the second for which it believes what it knows.
        jest.spyOn(other.clock, 'nowMs').mockReturnValue(other.clock.nowMs());
        expect((await other.http.get('/auth/me', { bearer })).status).toBe(200);
        await post('/auth/password/reset/confirm', { token, new_password: NEW_PASSWORD });
        expect((await other.http.get('/auth/me', { bearer })).status).toBe(200);
        const create = await other.http.post('/auth/api-keys', { bearer, body: { name: 'late' } });
        const rotate = await other.http.post(`/auth/api-keys/${key[0]?.id ?? ''}/rotate`, {
          bearer,
          body: {},
        });
        expect([create.status, rotate.status]).toEqual([401, 401]);
      } finally {
        await other.close();
      }
    });

    it('no other token says "it was not me"', async () => {
      const made = await hijack();
      const token = await linkIn(made.email, 'verify-email');
      expect((await post('/auth/verify-email/not-me', { token })).status).toBe(400);
      const notMe = await linkIn(made.email, 'not-me');
      expect((await post('/auth/verify-email', { token: notMe })).status).toBe(400);
    });
  });

  it('holds no secret but in its links', async () => {
    const user = await t.make.user();
    await post(
      '/auth/password/change',
      { current_password: PASSWORD, new_password: NEW_PASSWORD },
      user.token,
    );
    await post('/auth/password/reset', { email: user.email });
    const texts = (await t.mails(user.email)).map(({ text, html }) => `${text}${html}`).join();
    for (const secret of [PASSWORD, NEW_PASSWORD, user.token, user.refreshToken])
      expect(texts).not.toContain(secret);
  });
});
