import type { EntityManager } from 'typeorm';
import { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { ApiKey } from '../../src/api-keys/api-key.entity';
import { Audit, SYSTEM } from '../../src/platform/audit/audit';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import { AuditSealer } from '../../src/platform/audit/audit-sealer';
import { type AuditFindings, verifyAudit } from '../../src/platform/audit/audit-verifier';
import { Derivation } from '../../src/platform/crypto/derivation';
import { PASSWORD } from '../support/factory';
import { startTestApp, type TestApp } from '../support/test-app';

const MINUTE_MS = 60_000;

const seal = (t: TestApp): Promise<void> => t.app.get(AuditSealer, { strict: false }).seal();
const audit = (t: TestApp): Audit => t.app.get(Audit, { strict: false });
const derivation = (t: TestApp): Derivation => t.app.get(Derivation, { strict: false });
const verify = (t: TestApp, db: EntityManager = t.db, knownHead?: string): Promise<AuditFindings> =>
  verifyAudit(db, derivation(t), knownHead);

/** Records so many events about a user, each in a transaction of its own. */
async function recordEvents(t: TestApp, count: number, subjectId = uuidv7()): Promise<string> {
  for (let i = 0; i < count; i++) {
    const details = { name: `event ${i}` };
    const origin = { requestId: uuidv7(), ip: '203.0.113.7', userAgent: 'test' };
    const entry = { action: 'key.created', by: { id: subjectId, origin }, subjectId, details } as const;
    await t.db.transaction((tx) => audit(t).record(entry, tx));
  }
  return subjectId;
}

describe('the audit log', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const own = async (token: string, query = ''): Promise<Record<string, unknown>[]> =>
    (await t.http.get(`/auth/me/audit${query}`, { bearer: token })).body.data;

  it('tells what happened to an account, who did it, and from where', async () => {
    const email = t.make.email();
    const http = t.http.from('198.51.100.9');
    const headers = { 'user-agent': 'audited/1.0' };
    const { body: user } = await http.post('/auth/register', {
      body: { email, password: PASSWORD },
      headers,
    });
    const mailToken = /#token=([\w-]+)/.exec((await t.mails(email))[0]?.text ?? '')?.[1] ?? '';
    await http.post('/auth/verify-email', { body: { token: mailToken }, headers });
    const login = await http.post('/auth/login', { body: { email, password: PASSWORD }, headers });
    const bearer: string = login.body.access_token;
    const created = await http.post('/auth/api-keys', { bearer, body: { name: 'My key' }, headers });
    const keyId: string = created.body.api_key_info.id;
    const ended = await http.delete(`/auth/api-keys/${keyId.toUpperCase()}`, { bearer, headers });

    const events = await own(bearer);
    const from = { ip_address: '198.51.100.9', user_agent: 'audited/1.0', result: 'success' };
    expect(events).toMatchObject([
      { action: 'key.deactivated', actor: 'self', target_id: keyId, details: {}, ...from },
      { action: 'key.created', actor: 'self', target_id: keyId, details: { name: 'My key' }, ...from },
      { action: 'user.login', actor: 'self', details: {}, ...from },
      { action: 'email.verified', actor: 'self', target_id: null, ...from },
      { action: 'user.registered', actor: 'unknown', target_id: null, ...from },
    ]);
    expect(events[0]?.['request_id']).toBe(ended.headers.get('x-request-id'));
    const session = await t.db.query<{ id: string }[]>('SELECT id FROM sessions WHERE user_id = $1', [
      user.id,
    ]);
    expect(events[2]?.['target_id']).toBe(session[0]?.id);
    await seal(t);
    expect((await verify(t)).problems).toEqual([]);
  });

  it('tells an owner that somebody tried to sign up with his address', async () => {
    const user = await t.make.user();
    const http = t.http.from('198.51.100.66');
    await http.post('/auth/register', { body: { email: user.email, password: PASSWORD } });
    expect(await own(user.token)).toMatchObject([
      { action: 'user.sign_up_attempt', actor: 'unknown', result: 'failure', ip_address: '198.51.100.66' },
    ]);
  });

  it('has the time of the clock that decides everything else', async () => {
    const user = await t.make.user();
    t.clock.advance(10 * MINUTE_MS);
    const beforeMs = t.clock.nowMs();
    await t.http.post('/auth/api-keys', { bearer: user.token, body: { name: 'key' } });
    const afterMs = t.clock.nowMs();
    t.clock.reset();
    const [event] = await own(user.token);
    const occurredMs = Date.parse(String(event?.['occurred_at']));
    expect(occurredMs).toBeGreaterThanOrEqual(beforeMs);
    expect(occurredMs).toBeLessThanOrEqual(afterMs);
  });

  it('keeps what changes nothing out, and leaves it to the process log', async () => {
    const user = await t.make.user();
    const { email, id, token } = user;
    const refused = await t.http.from().post('/auth/login', { body: { email, password: 'wrong' } });
    await t.http.from().post('/auth/login', { body: { email: t.make.email(), password: 'wrong' } });
    const badToken = await t.http.from().get('/auth/me', { bearer: 'nonsense' });
    await t.http.delete(`/auth/api-keys/${uuidv7()}`, { bearer: token });
    expect(await own(token)).toEqual([]);

    const lines = t.logLines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const noted = (action: string): object[] => lines.filter((line) => line['action'] === action);
    expect(noted('user.login_failed')).toMatchObject([
      { subject_id: id, result: 'failure', request_id: refused.body.request_id },
      { subject_id: null, result: 'failure' },
    ]);
    expect(noted('credentials.refused')).toContainEqual(
      expect.objectContaining({ request_id: badToken.body.request_id, result: 'failure' }),
    );
    expect(t.logLines.join('\n')).not.toContain(email);
  });

  it('records the end of a key once, however often it is ended', async () => {
    const user = await t.make.user();
    const { id } = await t.make.apiKey({ userId: user.id });
    for (let i = 0; i < 2; i++) await t.http.delete(`/auth/api-keys/${id}`, { bearer: user.token });
    expect(await own(user.token)).toMatchObject([{ action: 'key.deactivated', target_id: id }]);
  });

  it('has no event of a change that was rolled back', async () => {
    const subjectId = uuidv7();
    const rolledBack = t.db.transaction(async (tx) => {
      await audit(t).record({ action: 'user.suspended', by: SYSTEM, subjectId }, tx);
      throw new Error('too late');
    });
    await expect(rolledBack).rejects.toThrow('too late');
    expect(await t.db.countBy(AuditEvent, { subjectId })).toBe(0);
  });

  it('does not let a change happen that it cannot record', async () => {
    const user = await t.make.user();
    await t.db.query('ALTER TABLE audit_details RENAME TO gone');
    const answer = await t.http.post('/auth/api-keys', { bearer: user.token, body: { name: 'key' } });
    await t.db.query('ALTER TABLE gone RENAME TO audit_details');
    expect(answer.status).toBe(500);
    expect(await t.db.countBy(ApiKey, { userId: user.id })).toBe(0);
    expect(await own(user.token)).toEqual([]);
  });

  it.each([
    ['UPDATE', `UPDATE audit_events SET result = 'failure'`],
    ['a second place in the chain', `UPDATE audit_events SET position = position + 1000`],
    ['DELETE', 'DELETE FROM audit_events'],
    ['TRUNCATE', 'TRUNCATE audit_events CASCADE'],
  ])('refuses %s', async (_what, sql) => {
    await recordEvents(t, 1);
    await seal(t);
    await expect(t.db.query(sql)).rejects.toThrow('audit_events is append-only');
  });

  it('refuses to change an event that is on its way into the chain', async () => {
    const subjectId = uuidv7();
    // Before the commit, so that the sealer cannot come first.
    const changed = t.db.transaction(async (tx) => {
      await audit(t).record({ action: 'user.login', by: SYSTEM, subjectId }, tx);
      await tx.query(
        `UPDATE audit_events SET position = 1000000, link = '', action = 'x' WHERE subject_id = $1`,
        [subjectId],
      );
    });
    await expect(changed).rejects.toThrow('audit_events is append-only');
  });

  describe('GET /auth/me/audit', () => {
    it('pages through every event once, newest first', async () => {
      const user = await t.make.user();
      await recordEvents(t, 5, user.id);
      const names: unknown[] = [];
      let query = '?limit=2';
      for (let pages = 1; query; pages++) {
        const { body } = await t.http.get(`/auth/me/audit${query}`, { bearer: user.token });
        names.push(...body.data.map(({ details }: { details: { name: string } }) => details.name));
        expect(body.pagination.has_more).toBe(pages < 3);
        query = body.pagination.has_more ? `?limit=2&cursor=${body.pagination.cursor}` : '';
      }
      expect(names).toEqual(['event 4', 'event 3', 'event 2', 'event 1', 'event 0']);
    });

    it("never shows another user's events, also with a cursor of his", async () => {
      const [user, other] = [await t.make.user(), await t.make.user()];
      await recordEvents(t, 3, other.id);
      await recordEvents(t, 1, user.id);
      await recordEvents(t, 3, other.id);
      const theirs = await t.http.get('/auth/me/audit?limit=1', { bearer: other.token });
      const cursor: string = theirs.body.pagination.cursor;
      expect(await own(user.token)).toHaveLength(1);
      const behind = await own(user.token, `?cursor=${cursor}`);
      expect(behind).toHaveLength(1);
      expect(behind[0]?.['details']).toEqual({ name: 'event 0' });
    });

    it('does not show where somebody else was when he acted', async () => {
      const user = await t.make.user();
      const origin = { requestId: uuidv7(), ip: '203.0.113.99', userAgent: 'of the admin' };
      const entry = {
        action: 'sessions.ended_all',
        by: { id: uuidv7(), origin },
        subjectId: user.id,
      } as const;
      await t.db.transaction((tx) => audit(t).record(entry, tx));
      await t.db.transaction((tx) =>
        audit(t).record({ action: 'tier.changed', by: SYSTEM, subjectId: user.id }, tx),
      );
      const hidden = { request_id: null, ip_address: null, user_agent: null };
      expect(await own(user.token)).toMatchObject([
        { action: 'tier.changed', actor: 'system', ...hidden },
        { action: 'sessions.ended_all', actor: 'admin', ...hidden },
      ]);
    });

    it.each(['limit=0', 'limit=101', 'limit=x', 'limit=1&limit=2', 'cursor=x', 'cursor=', 'user_id=1'])(
      'refuses ?%s',
      async (query) => {
        const { token } = await t.make.user();
        const answer = await t.http.get(`/auth/me/audit?${query}`, { bearer: token });
        expect(answer.status).toBe(400);
        expect(answer.body.errors[0].field).toBe(query.split('=')[0]);
      },
    );

    it('is for a person who is logged in', async () => {
      const { key } = await t.make.apiKey();
      expect((await t.http.get('/auth/me/audit')).status).toBe(401);
      expect((await t.http.get('/auth/me/audit', { bearer: 'nonsense' })).status).toBe(401);
      expect((await t.http.get('/auth/me/audit', { key })).status).toBe(403);
    });
  });
});

describe('sealing', () => {
  const apps: TestApp[] = [];
  const start = async (databaseUrl?: string): Promise<TestApp> => {
    const app = await startTestApp({ databaseUrl });
    // The second lives on the database of the first, and so ends before it.
    apps.unshift(app);
    return app;
  };
  afterEach(async () => {
    for (const app of apps.splice(0)) await app.close();
  });

  it('keeps one chain of what two applications record at once, rolled back in between', async () => {
    const t = await start();
    const second = await start(t.databaseUrl);
    const users = await Promise.all(
      Array.from({ length: 6 }, () => t.make.user({ tierOverride: 'internal' })),
    );
    const rollBack = async (app: TestApp): Promise<void> => {
      const failing = app.db.transaction(async (tx) => {
        await audit(app).record({ action: 'user.login', by: SYSTEM, subjectId: uuidv7() }, tx);
        throw new Error('rolled back');
      });
      await expect(failing).rejects.toThrow('rolled back');
    };
    let isWorking = true;
    const sealing = [t, second].map(async (app) => {
      while (isWorking) await seal(app);
    });

    await Promise.all(
      users.flatMap(({ token }) =>
        [t, second].map(async (app) => {
          for (let i = 0; i < 5; i++) {
            await app.http.post('/auth/api-keys', { bearer: token, body: { name: `key ${i}` } });
            await rollBack(app);
          }
        }),
      ),
    );
    isWorking = false;
    await Promise.all(sealing);
    await seal(t);

    const findings = await verify(t);
    expect(findings).toMatchObject({ problems: [], eventsCount: 60, unsealedCount: 0 });
    expect(findings.head).toMatch(/^60:[0-9a-f]{64}$/);
    expect(await verify(second)).toEqual(findings);
  });

  it('gives what commits late a later place, and waits for nobody', async () => {
    const t = await start();
    const late = t.db.dataSource.createQueryRunner();
    await late.startTransaction();
    const first = uuidv7();
    await audit(t).record({ action: 'user.login', by: SYSTEM, subjectId: first }, late.manager);
    const second = await recordEvents(t, 1);
    await seal(t);
    expect(await t.db.findOneByOrFail(AuditEvent, { subjectId: second })).toMatchObject({ position: '1' });

    await late.commitTransaction();
    await late.release();
    await seal(t);
    expect(await t.db.findOneByOrFail(AuditEvent, { subjectId: first })).toMatchObject({ position: '2' });
    expect((await verify(t)).problems).toEqual([]);
  });

  it('takes more events than fit in one batch', async () => {
    const t = await start();
    await t.db.transaction(async (tx) => {
      for (let i = 0; i < 1_001; i++)
        await audit(t).record({ action: 'user.login', by: SYSTEM, subjectId: null }, tx);
    });
    await seal(t);
    expect(await verify(t)).toMatchObject({ problems: [], eventsCount: 1_001, unsealedCount: 0 });
  });

  it('leaves nothing unsealed when the service stops', async () => {
    const t = await start();
    await recordEvents(t, 1);
    await t.app.close();
    const db = await new DataSource({ type: 'postgres', url: t.databaseUrl }).initialize();
    const rows = await db.query<object[]>('SELECT 1 FROM audit_events WHERE position IS NULL');
    await db.destroy();
    expect(rows).toEqual([]);
  });

  it('writes each new head to the process log, which an attacker of the database cannot reach', async () => {
    const t = await start();
    await recordEvents(t, 3);
    await seal(t);
    const { head } = await verify(t);
    expect(t.logLines.some((line) => line.includes(`"audit_head":"${head}"`))).toBe(true);
  });
});
