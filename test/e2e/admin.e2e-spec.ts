import { v7 as uuidv7 } from 'uuid';
import { Session } from '../../src/auth/session.entity';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import { startTestApp, type TestApp } from '../support/test-app';

const NOBODY = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';
const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };
type Made = Awaited<ReturnType<TestApp['make']['user']>>;

describe('admins', () => {
  let t: TestApp;
  let admin: Made;
  beforeAll(async () => {
    t = await startTestApp();
  });
  beforeEach(async () => {
    admin = await t.make.user({ role: 'admin' });
  });
  afterAll(() => t.close());

  const eventsAbout = async ({ id }: { id: string }): Promise<AuditEvent[]> =>
    t.db.find(AuditEvent, { where: { subjectId: id }, order: { id: 'ASC' } });

  const routes = (id: string): [string, string, object | undefined][] => [
    ['GET', '/admin/users', undefined],
    ['GET', `/admin/users/${id}`, undefined],
    ['POST', `/admin/users/${id}/suspend`, undefined],
    ['POST', `/admin/users/${id}/restore`, undefined],
    ['PUT', `/admin/users/${id}/tier`, { tier: 'internal' }],
    ['DELETE', `/admin/users/${id}/sessions`, undefined],
    ['GET', '/admin/audit', undefined],
  ];

  it.each(routes(NOBODY).map((_route, i) => i))(
    'alone may call route %i, with an access token',
    async (i) => {
      const user = await t.make.user();
      const { key } = await t.make.apiKey({ userId: admin.id });
      const [method, path, body] = routes(user.id)[i] ?? ['', ''];
      const send = (sent: object): ReturnType<TestApp['http']['send']> =>
        t.http.from().send(method, path, { ...(body && { body }), ...sent });

      expect((await send({})).status).toBe(401);
      expect((await send({ bearer: 'nonsense' })).status).toBe(401);
      expect((await send({ bearer: user.token })).status).toBe(403);
      expect((await send({ key })).status).toBe(403);
      expect(await t.db.findOneByOrFail(User, { id: user.id })).toMatchObject({
        isActive: true,
        tierOverride: null,
      });
      expect(await eventsAbout(user)).toEqual([]);
      expect((await send({ bearer: admin.token })).status).toBe(200);
    },
  );

  it('lose their rights at once with their role', async () => {
    await t.db.update(User, { id: admin.id }, { role: 'user' });
    expect((await t.http.get('/admin/users', { bearer: admin.token })).status).toBe(403);
  });

  it.each(routes('nonsense').filter(([, path]) => path.includes('nonsense')))(
    'get 400 for %s %s, which is no id',
    async (method, path, body) => {
      const answer = await t.http.send(method, path, { bearer: admin.token, ...(body && { body }) });
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0].field).toBe('id');
    },
  );

  it.each(routes(NOBODY).filter(([, path]) => path.split('/').length > 3))(
    'get 404 for %s %s, which is nobody',
    async (method, path, body) => {
      const answer = await t.http.send(method, path, { bearer: admin.token, ...(body && { body }) });
      expect(answer.status).toBe(404);
      expect(answer.body.code).toBe('user_not_found');
    },
  );

  describe('GET /admin/users', () => {
    const found = async (query: string): Promise<string[]> => {
      const { body } = await t.http.get(`/admin/users?${query}`, { bearer: admin.token });
      return body.data.map(({ id }: { id: string }) => id);
    };

    it('finds an account by its id or by a part of its address, in any case', async () => {
      const user = await t.make.user({ email: `ada-${uuidv7()}@engines.example.com` });
      const part = user.email.slice(2, 30);
      for (const search of [user.id, user.id.toUpperCase(), user.email, part, part.toUpperCase()])
        expect(await found(`search=${search}`)).toEqual([user.id]);
      expect(await found(`search=${uuidv7()}`)).toEqual([]);
    });

    it('takes % and _ as they are', async () => {
      const name = uuidv7();
      const [percent] = [
        await t.make.user({ email: `${name}%25@example.com` }),
        await t.make.user({ email: `${name}xx@example.com` }),
      ];
      expect(await found(`search=${encodeURIComponent(`${name}%`)}`)).toEqual([percent.id]);
      expect(await found(`search=${encodeURIComponent(`${name}_`)}`)).toEqual([]);
    });

    it('pages through all accounts once, newest first', async () => {
      const name = `page-${uuidv7()}`;
      const made: string[] = [];
      for (let i = 0; i < 5; i++) made.unshift((await t.make.user({ email: `${name}-${i}@example.com` })).id);
      const seen: string[] = [];
      let cursor = '';
      do {
        const { body } = await t.http.get(`/admin/users?search=${name}&limit=2${cursor}`, {
          bearer: admin.token,
        });
        seen.push(...body.data.map(({ id }: { id: string }) => id));
        cursor = body.pagination.has_more ? `&cursor=${body.pagination.cursor}` : '';
      } while (cursor);
      expect(seen).toEqual(made);
    });

    it('shows role, state and both tiers', async () => {
      const user = await t.make.user({ billingTier: 'starter', tierOverride: 'enterprise', isActive: false });
      const answer = await t.http.get(`/admin/users/${user.id.toUpperCase()}`, { bearer: admin.token });
      expect(answer.body).toMatchObject({
        id: user.id,
        email: user.email,
        role: 'user',
        is_active: false,
        subscription_tier: 'enterprise',
        billing_tier: 'starter',
        tier_override: 'enterprise',
      });
    });

    it.each([
      'search=',
      `search=${'x'.repeat(255)}`,
      'search=a&search=b',
      'limit=0',
      'cursor=x',
      'role=admin',
    ])('refuses ?%s', async (query) => {
      const answer = await t.http.get(`/admin/users?${query}`, { bearer: admin.token });
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0].field).toBe(query.split('=')[0]);
    });
  });

  describe('suspending', () => {
    it('T14: shuts the account out at once, with every session and key, and says so in the log', async () => {
      const user = await t.make.user();
      const { key } = await t.make.apiKey({ userId: user.id });
      const answer = await t.http.post(`/admin/users/${user.id}/suspend`, { bearer: admin.token });
      expect(answer.body).toMatchObject({ id: user.id, is_active: false });

      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(401);
      expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(401);
      const login = { email: user.email, password: PASSWORD };
      expect((await t.http.from().post('/auth/login', { body: login })).status).toBe(401);
      expect(await t.db.countBy(Session, { userId: user.id })).toBe(0);
      expect(await eventsAbout(user)).toMatchObject([
        { action: 'user.suspended', actor: admin.id, requestId: answer.headers.get('x-request-id') },
      ]);
    });

    it('ends with restoring: keys work again, sessions do not come back', async () => {
      const user = await t.make.user();
      const { key } = await t.make.apiKey({ userId: user.id });
      await t.http.post(`/admin/users/${user.id}/suspend`, { bearer: admin.token });
      const answer = await t.http.post(`/admin/users/${user.id}/restore`, { bearer: admin.token });
      expect(answer.body).toMatchObject({ id: user.id, is_active: true });

      expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(200);
      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(401);
      const login = { email: user.email, password: PASSWORD };
      expect((await t.http.from().post('/auth/login', { body: login })).status).toBe(200);
      expect((await eventsAbout(user)).map(({ action }) => action)).toEqual([
        'user.suspended',
        'user.restored',
        'user.login',
      ]);
    });

    it('is recorded once, of twenty at once', async () => {
      const user = await t.make.user();
      const answers = await Promise.all(
        Array.from({ length: 20 }, () =>
          t.http.post(`/admin/users/${user.id}/suspend`, { bearer: admin.token }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
      expect(await eventsAbout(user)).toHaveLength(1);
    });

    it.each([(id: string) => id, (id: string) => id.toUpperCase()])(
      'does not work on oneself, however the id is spelled',
      async (spell) => {
        const answer = await t.http.post(`/admin/users/${spell(admin.id)}/suspend`, { bearer: admin.token });
        expect(answer.status).toBe(400);
        expect(answer.body.code).toBe('cannot_suspend_yourself');
        expect((await t.http.get('/auth/me', { bearer: admin.token })).status).toBe(200);
        expect(await eventsAbout(admin)).toEqual([]);
      },
    );
  });

  describe('setting the tier', () => {
    it('wins over billing, and null gives the word back', async () => {
      const user = await t.make.user({ billingTier: 'starter' });
      const set = async (tier: string | null): Promise<unknown> =>
        (await t.http.put(`/admin/users/${user.id}/tier`, { bearer: admin.token, body: { tier } })).body;
      expect(await set('enterprise')).toMatchObject({
        subscription_tier: 'enterprise',
        tier_override: 'enterprise',
      });
      expect(await set('enterprise')).toMatchObject({ subscription_tier: 'enterprise' });
      expect(await set(null)).toMatchObject({ subscription_tier: 'starter', tier_override: null });

      const answer = await t.http.get(`/admin/audit?user_id=${user.id}`, { bearer: admin.token });
      expect(answer.body.data).toMatchObject([
        {
          action: 'tier.changed',
          actor: admin.id,
          subject_id: user.id,
          details: { from: 'enterprise', to: null },
        },
        {
          action: 'tier.changed',
          actor: admin.id,
          subject_id: user.id,
          details: { from: null, to: 'enterprise' },
        },
      ]);
    });

    it.each([
      {},
      { tier: 'gold' },
      { tier: '' },
      { tier: ['free'] },
      { tier: 1 },
      { tier: 'free', role: 'admin' },
    ])('refuses %j', async (body) => {
      const user = await t.make.user();
      const answer = await t.http.put(`/admin/users/${user.id}/tier`, { bearer: admin.token, body });
      expect(answer.status).toBe(400);
      expect(await t.db.findOneByOrFail(User, { id: user.id })).toMatchObject({
        tierOverride: null,
        role: 'user',
      });
    });
  });

  it("end all sessions of a user and nobody else's, and keys go on", async () => {
    const [user, other] = [await t.make.user(), await t.make.user()];
    const { key } = await t.make.apiKey({ userId: user.id });
    const answer = await t.http.delete(`/admin/users/${user.id}/sessions`, { bearer: admin.token });
    expect(answer.body).toEqual({ message: 'All sessions ended' });
    expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(401);
    expect((await t.http.get('/auth/me', { bearer: other.token })).status).toBe(200);
    expect((await t.http.post('/generate', { key, body: CALL })).status).toBe(200);
    expect(await eventsAbout(user)).toMatchObject([{ action: 'sessions.ended_all', actor: admin.id }]);
  });

  describe('GET /admin/audit', () => {
    const read = async (query: string): Promise<Record<string, unknown>[]> =>
      (await t.http.get(`/admin/audit?${query}`, { bearer: admin.token })).body.data;

    it('shows who did it and from where, of everybody', async () => {
      const user = await t.make.user();
      await t.http.from('198.51.100.77').post(`/admin/users/${user.id}/suspend`, { bearer: admin.token });
      const [event] = await read('limit=1');
      expect(event).toMatchObject({
        action: 'user.suspended',
        actor: admin.id,
        subject_id: user.id,
        result: 'success',
        ip_address: '198.51.100.77',
      });
    });

    it('finds what a user did elsewhere, as well as what happened to him', async () => {
      const user = await t.make.user();
      await t.http.delete(`/admin/users/${user.id}/sessions`, { bearer: admin.token });
      await t.http.delete(`/admin/users/${admin.id}/sessions`, { bearer: admin.token });
      const again = await t.make.user({ role: 'admin' });
      const { body } = await t.http.get(`/admin/audit?user_id=${admin.id.toUpperCase()}`, {
        bearer: again.token,
      });
      expect(body.data.map((event: { subject_id: string }) => event.subject_id)).toEqual([admin.id, user.id]);
    });

    it('filters by action and time, from its first moment to before its last', async () => {
      const user = await t.make.user();
      await t.http.post(`/admin/users/${user.id}/suspend`, { bearer: admin.token });
      await t.http.post(`/admin/users/${user.id}/restore`, { bearer: admin.token });
      const [restored, suspended] = await read(`user_id=${user.id}`);
      expect(await read(`user_id=${user.id}&action=user.suspended`)).toEqual([suspended]);
      const at = String(restored?.['occurred_at']);
      const count = async (query: string): Promise<number> =>
        (await read(`user_id=${user.id}&action=user.restored&${query}`)).length;
      expect(await count(`from=${at}`)).toBe(1);
      expect(await count(`to=${at}`)).toBe(0);
      expect(await count(`from=2000-01-01T00:00:00Z&to=2001-01-01T00:00:00%2B01:00`)).toBe(0);
      expect(await count(`from=2000-01-01T00:00:00Z&to=2999-01-01T00:00:00Z`)).toBe(1);
    });

    it('pages', async () => {
      const user = await t.make.user();
      for (let i = 0; i < 3; i++)
        await t.http.delete(`/admin/users/${user.id}/sessions`, { bearer: admin.token });
      const first = await t.http.get(`/admin/audit?user_id=${user.id}&limit=2`, { bearer: admin.token });
      expect(first.body.data).toHaveLength(2);
      const rest = await read(`user_id=${user.id}&limit=2&cursor=${first.body.pagination.cursor}`);
      expect(rest).toHaveLength(1);
      expect(first.body.data).not.toContainEqual(rest[0]);
    });

    it.each([
      'user_id=x',
      'action=user.unknown',
      'from=yesterday',
      'to=2026-01-01',
      'limit=x',
      'cursor=x',
      'actor=x',
    ])('refuses ?%s', async (query) => {
      const answer = await t.http.get(`/admin/audit?${query}`, { bearer: admin.token });
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0].field).toBe(query.split('=')[0]);
    });
  });
});
