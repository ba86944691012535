import { DataSource } from 'typeorm';
import { AccessTokens } from '../../src/auth/access-tokens';
import { Session } from '../../src/auth/session.entity';
import { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const DAY_MS = 24 * 60 * 60 * 1_000;
const NOBODY = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';

describe('sessions', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const refresh = (token: string): Promise<Answer> =>
    t.http.from().post('/auth/refresh', { body: { refresh_token: token } });
  const me = async (bearer: string): Promise<number> =>
    (await t.http.from().get('/auth/me', { bearer })).status;

  it('are 100 at most: a further log-in ends the one that was not used for the longest time', async () => {
    const user = await t.make.user();
    const tokens = [user.refreshToken];
    while (tokens.length < 105) {
      t.clock.advance(1_000);
      tokens.push((await t.make.session(user.id)).refreshToken);
      // The first goes on being used.
      if (tokens.length === 50) tokens[0] = (await refresh(user.refreshToken)).body.refresh_token as string;
    }
    const { body } = await t.http
      .from()
      .post('/auth/login', { body: { email: user.email, password: PASSWORD } });
    const listed = (await t.http.from().get('/auth/sessions', { bearer: body.access_token }))
      .body as object[];
    expect(listed).toHaveLength(100);
    expect(listed[0]).toMatchObject({ is_current: true });
    expect(await t.db.countBy(Session, { userId: user.id })).toBe(100);
    const open = await Promise.all(tokens.map(async (token) => (await refresh(token)).status));
    expect(open).toEqual([200, ...Array<number>(6).fill(401), ...Array<number>(98).fill(200)]);
  });

  it('are 100 again at the next log-in when several opened at the same moment', async () => {
    const user = await t.make.user();
    for (let n = 1; n < 99; n++) await t.make.session(user.id);
    await Promise.all(Array.from({ length: 10 }, () => t.make.session(user.id)));
    await t.make.session(user.id);
    expect(await t.db.countBy(Session, { userId: user.id })).toBe(100);
  });

  /** For the row of its account, which somebody else has locked. */
  const isLoginWaiting = async (): Promise<boolean> => {
    const [row] = await t.db.query<{ waiting: boolean }[]>(
      `SELECT count(*) > 0 AS waiting FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO sessions%'`,
    );
    return row?.waiting === true;
  };

  it('are not ended by a log-in that has waited while they were used', async () => {
    const user = await t.make.user();
    while ((await t.db.countBy(Session, { userId: user.id })) < 100) {
      t.clock.advance(1_000);
      await t.make.session(user.id);
    }
    const blocker = t.db.dataSource.createQueryRunner();
    await blocker.startTransaction();
    await blocker.query('SELECT FROM users WHERE id = $1 FOR UPDATE', [user.id]);
    const answer = t.http.from().post('/auth/login', { body: { email: user.email, password: PASSWORD } });
    while (!(await isLoginWaiting()));
    t.clock.advance(1_000);
    const refreshed = await refresh(user.refreshToken);
    await blocker.commitTransaction();
    await blocker.release();
    expect((await answer).status).toBe(200);
    expect((await refresh(refreshed.body.refresh_token as string)).status).toBe(200);
  });

  it.each([
    ['suspended', 'is_active = false'],
    ['given another password', `password_hash = password_hash || 'x'`],
    ['given a second factor', 'two_factor_enabled = true'],
  ])(
    'do not open for an account that is %s while its log-in waits: nothing is left of that',
    async (_, change) => {
      const user = await t.make.user();
      const blocker = t.db.dataSource.createQueryRunner();
      await blocker.startTransaction();
      await blocker.query(`UPDATE users SET ${change} WHERE id = $1`, [user.id]);
      const body = { email: user.email, password: PASSWORD };
      const answer = t.http.from().post('/auth/login', { body });
      while (!(await isLoginWaiting()));
      await blocker.commitTransaction();
      await blocker.release();
      expect((await answer).status).toBe(401);
      expect(await t.db.countBy(Session, { userId: user.id })).toBe(1);
      expect(await t.db.query('SELECT action FROM audit_events WHERE subject_id = $1', [user.id])).toEqual(
        [],
      );
      // The attempt is not given back.
      expect(await t.db.query('SELECT 1 FROM attempt_counts WHERE taken = 1')).toHaveLength(1);
      await t.db.query('DELETE FROM attempt_counts');
    },
  );

  describe('POST /auth/refresh', () => {
    it('gives a new access token and the next refresh token', async () => {
      const { refreshToken } = await t.make.user();
      const { status, body } = await refresh(refreshToken);
      expect(status).toBe(200);
      expect(body).toMatchObject({ token_type: 'bearer', expires_in: 1800 });
      expect(body.refresh_token).not.toBe(refreshToken);
      expect(await me(body.access_token)).toBe(200);
    });

    it('T5: gives fifty tries at once the same successor, and a session with one child', async () => {
      const { refreshToken, sessionId } = await t.make.user();
      const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(refreshToken)));
      expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
      expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1);
      expect(await t.db.findOneByOrFail(Session, { id: sessionId })).toMatchObject({ generation: 1 });
    });

    it('repeats the successor for ten seconds and not for eleven', async () => {
      const { refreshToken } = await t.make.user();
      const first = await refresh(refreshToken);
      t.clock.advance(9_500);
      expect((await refresh(refreshToken)).body.refresh_token).toBe(first.body.refresh_token);
      t.clock.advance(1_500);
      expect((await refresh(refreshToken)).status).toBe(401);
    });

    it('ends the session when a token comes back whose successor was used, and tells the user once (T5)', async () => {
      const user = await t.make.user();
      const second = await refresh(user.refreshToken);
      const third = await refresh(second.body.refresh_token);
      expect(third.status).toBe(200);

      const replays = await Promise.all(Array.from({ length: 10 }, () => refresh(user.refreshToken)));
      expect(replays.map(({ status }) => status)).toEqual(Array(10).fill(401));
      expect((await refresh(third.body.refresh_token)).status).toBe(401);
      expect(await me(third.body.access_token)).toBe(401);
      expect((await t.mails(user.email)).map(({ subject }) => subject)).toEqual([
        'A session was ended for your safety',
      ]);
      expect(t.logLines.join('\n')).toContain('"event":"refresh_token_reused"');
    });

    it('rotates twice in the same millisecond like twice in a day (T6)', async () => {
      const { refreshToken } = await t.make.user();
      const second = await refresh(refreshToken);
      await refresh(second.body.refresh_token);
      expect((await refresh(refreshToken)).status).toBe(401);
    });

    it('remembers what was rotated when another process asks (T6)', async () => {
      const other = await startTestApp({ databaseUrl: t.databaseUrl });
      try {
        const { refreshToken } = await t.make.user();
        const second = await refresh(refreshToken);
        await refresh(second.body.refresh_token);
        const replay = await other.http.post('/auth/refresh', { body: { refresh_token: refreshToken } });
        expect(replay.status).toBe(401);
      } finally {
        await other.close();
      }
    });

    it('loses every race against a log-out: no token is valid once both have ended (T7)', async () => {
      for (let round = 0; round < 50; round++) {
        const { token, refreshToken } = await t.make.user();
        const [refreshed] = await Promise.all([
          refresh(refreshToken),
          t.http.from().post('/auth/logout', { bearer: token }),
        ]);
        const tokens = [
          refreshToken,
          ...(refreshed.status === 200 ? [refreshed.body.refresh_token as string] : []),
        ];
        for (const one of tokens) expect((await refresh(one)).status).toBe(401);
        if (refreshed.status === 200) expect(await me(refreshed.body.access_token)).toBe(401);
      }
    });

    it('ends after seven days without use, and after thirty with it', async () => {
      const idle = await t.make.user();
      t.clock.advance(7 * DAY_MS + 1_000);
      expect((await refresh(idle.refreshToken)).status).toBe(401);
      t.clock.reset();

      let { refreshToken } = await t.make.user();
      for (let day = 0; day < 30; day += 6) {
        const answer = await refresh(refreshToken);
        expect(answer.status).toBe(200);
        refreshToken = answer.body.refresh_token;
        t.clock.advance(6 * DAY_MS);
      }
      t.clock.advance(1_000);
      expect((await refresh(refreshToken)).status).toBe(401);
    });

    it('refuses a suspended user', async () => {
      const user = await t.make.user();
      await t.db.update(User, { id: user.id }, { isActive: false });
      expect((await refresh(user.refreshToken)).status).toBe(401);
    });

    it('refuses everything that is not a refresh token', async () => {
      const { token, refreshToken } = await t.make.user();
      const [generation, mac] = refreshToken.split('.');
      const login = await t.http
        .from()
        .post('/auth/login', { body: { email: (await t.make.user()).email, password: PASSWORD } });
      const texts = [
        '',
        'x',
        token,
        login.body.device_token as string,
        `1.${mac ?? ''}`,
        `00${refreshToken}`,
        `${generation ?? ''}.${'A'.repeat(64)}`,
        `${refreshToken}=`,
      ];
      for (const text of texts) expect((await refresh(text)).status).toBe(401);
      for (const body of [{}, { refresh_token: null }, { refresh_token: [refreshToken] }]) {
        expect((await t.http.post('/auth/refresh', { body })).status).toBe(400);
      }
      expect((await refresh(refreshToken)).status).toBe(200);
    });
  });

  describe('ending', () => {
    it('log-out ends access and refresh at once, for this session only', async () => {
      const { email } = await t.make.user();
      const login = async (): Promise<Answer> =>
        t.http.from().post('/auth/login', { body: { email, password: PASSWORD } });
      const [here, there] = [await login(), await login()];
      expect(await me(here.body.access_token)).toBe(200);
      expect((await t.http.post('/auth/logout', { bearer: here.body.access_token })).status).toBe(200);
      t.known();
      expect(await me(here.body.access_token)).toBe(401);
      expect((await refresh(here.body.refresh_token)).status).toBe(401);
      expect(await me(there.body.access_token)).toBe(200);
    });

    it('lists sessions with device and address, and ends one', async () => {
      const user = await t.make.user();
      const client = t.http.from('198.51.100.23');
      const login = await client.post('/auth/login', {
        body: { email: user.email, password: PASSWORD },
        headers: { 'user-agent': 'phone' },
      });
      const list = await t.http.get('/auth/sessions', { bearer: login.body.access_token });
      expect(list.body).toEqual([
        expect.objectContaining({ is_current: true, ip_address: '198.51.100.23', user_agent: 'phone' }),
        expect.objectContaining({ id: user.sessionId, is_current: false, user_agent: 'factory' }),
      ]);
      expect(
        (await t.http.delete(`/auth/sessions/${user.sessionId}`, { bearer: login.body.access_token })).status,
      ).toBe(200);
      expect(await me(user.token)).toBe(401);
      expect(await me(login.body.access_token)).toBe(200);
    });

    it('ends one at once, however its id is spelled', async () => {
      const user = await t.make.user();
      const here = await t.make.session(user.id);
      expect(await me(user.token)).toBe(200);
      const bearer = t.app.get(AccessTokens, { strict: false }).sign(user.id, here.sessionId);
      await t.http.delete(`/auth/sessions/${user.sessionId.toUpperCase()}`, { bearer });
      t.known();
      expect(await me(user.token)).toBe(401);
    });

    it('ends all others', async () => {
      const user = await t.make.user();
      const login = await t.http
        .from()
        .post('/auth/login', { body: { email: user.email, password: PASSWORD } });
      expect((await t.http.delete('/auth/sessions', { bearer: login.body.access_token })).status).toBe(200);
      expect(await me(user.token)).toBe(401);
      expect((await refresh(user.refreshToken)).status).toBe(401);
      expect(await me(login.body.access_token)).toBe(200);
    });

    it("finds nobody else's session", async () => {
      const [user, stranger] = [await t.make.user(), await t.make.user()];
      const theirs = await t.http.delete(`/auth/sessions/${user.sessionId}`, { bearer: stranger.token });
      const nobodys = await t.http.delete(`/auth/sessions/${NOBODY}`, { bearer: stranger.token });
      expect(theirs.status).toBe(404);
      expect({ ...theirs.body, request_id: '' }).toEqual({ ...nobodys.body, request_id: '' });
      expect(await me(user.token)).toBe(200);
    });

    it('is seen by another process within one second, and not believed a moment longer', async () => {
      const other = await startTestApp({ databaseUrl: t.databaseUrl });
      try {
        const user = await t.make.user();
        expect((await other.http.get('/auth/me', { bearer: user.token })).status).toBe(200);
        await t.http.post('/auth/logout', { bearer: user.token });
        expect(await me(user.token)).toBe(401);
        other.clock.advance(1_000);
        expect((await other.http.get('/auth/me', { bearer: user.token })).status).toBe(401);
      } finally {
        await other.close();
      }
    });

    it('costs no statement per request while nothing changes', async () => {
      const user = await t.make.user();
      await me(user.token);
      const runners = jest.spyOn(t.app.get(DataSource), 'createQueryRunner');
      const startMs = performance.now();
      // The handler of this route reads nothing: what is counted is authentication.
      const answers = await Promise.all(
        Array.from({ length: 100 }, () => t.http.from().post('/generate', { bearer: user.token, body: {} })),
      );
      const statements = runners.mock.calls.length;
      runners.mockRestore();
      expect(answers.every(({ status }) => status === 403)).toBe(true);
      // For a hundred requests; what the service reads in the background, a few times a second, is among them.
      const seconds = (performance.now() - startMs) / 1_000;
      expect(statements).toBeLessThan(10 + 3 * seconds);
    });
  });
});
