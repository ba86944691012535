import { randomUUID } from 'node:crypto';
import { ApiKey } from '../../src/api-keys/api-key.entity';
import { plans } from '../../src/users/plans';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import { Idempotency, type IdempotentRequest } from '../../src/platform/idempotency/idempotency';
import { IdempotencyKey } from '../../src/platform/idempotency/idempotency-key.entity';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const HOUR_MS = 3_600_000;
/** How long a claim of a process that died is respected. */
const CLAIM_MS = 15_000;

describe('Idempotency-Key', () => {
  let t: TestApp;
  let user: Awaited<ReturnType<TestApp['make']['user']>>;
  beforeAll(async () => {
    t = await startTestApp();
  });
  beforeEach(async () => {
    user = await t.make.user();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  function create(key: string, body: object = { name: 'once' }, bearer = user.token): Promise<Answer> {
    return t.http.post('/auth/api-keys', { bearer, body, headers: { 'idempotency-key': key } });
  }

  async function keysOf(userId = user.id): Promise<string[]> {
    return (await t.db.findBy(ApiKey, { userId })).map(({ name }) => name);
  }

  it('gives a repeated request the first answer, the key that is shown once too, and does nothing again (M2, R7)', async () => {
    const first = await create('"order 1"');
    const again = await create('"order 1"');

    expect(first.status).toBe(200);
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    expect(again.status).toBe(200);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.text).toBe(first.text);
    expect(await keysOf()).toEqual(['once']);
    expect(await auditedKeys()).toBe(1);
    const call = { key: again.body.api_key, body: { user_id: 'u', prompt: 'hi', provider: 'echo' } };
    expect((await t.http.post('/generate', call)).status).toBe(200);
  });

  async function auditedKeys(): Promise<number> {
    return t.db.countBy(AuditEvent, { subjectId: user.id, action: 'key.created' });
  }

  it('takes the key in quotes, as the draft has it, and bare, as many clients send it, for the same', async () => {
    const key = randomUUID();
    const first = await create(`"${key}"`);
    expect((await create(key)).text).toBe(first.text);
  });

  it.each(['', '""', '"a', '"a", "b"', '"a";p=1', 'two words', `"${'k'.repeat(256)}"`])(
    'refuses %p, and does nothing',
    async (key) => {
      const answer = await create(key);
      expect([answer.status, answer.body.code]).toEqual([400, 'invalid_idempotency_key']);
      expect(await keysOf()).toEqual([]);
    },
  );

  it('refuses another body with 422, and does nothing', async () => {
    await create('"order 2"');
    const other = await create('"order 2"', { name: 'other' });
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
    expect(await keysOf()).toEqual(['once']);
  });

  it('runs one of twenty at once: the others get its answer, or 409 and when to come back', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => create('"twins"')));
    const ran = answers.filter(({ status }) => status === 200);
    const waiting = answers.filter(({ status }) => status === 409);

    expect(ran.length + waiting.length).toBe(20);
    expect(new Set(ran.map(({ text }) => text)).size).toBe(1);
    expect(ran.filter(({ headers }) => !headers.has('idempotency-replayed'))).toHaveLength(1);
    for (const { body, headers } of waiting) {
      expect([body.code, headers.get('retry-after')]).toEqual(['idempotent_request_running', '1']);
    }
    expect(await keysOf()).toEqual(['once']);
  });

  it('answers 409 while the first is still running, and its answer afterwards', async () => {
    const first = await t.db.transaction(async (tx) => {
      await tx.query('SELECT id FROM users WHERE id = $1 FOR UPDATE', [user.id]);
      const running = create('"slow"');
      while (!(await t.db.existsBy(IdempotencyKey, { userId: user.id })));
      expect((await create('"slow"')).status).toBe(409);
      const other = await create('"slow"', { name: 'other' });
      expect(other.status).toBe(422);
      return { running };
    });
    const answer = await first.running;
    expect(answer.status).toBe(200);
    expect((await create('"slow"')).text).toBe(answer.text);
  });

  it('keeps a refusal of the request itself, as it was answered first', async () => {
    for (let i = 0; i < plans.free.activeKeysMax; i++) await t.make.apiKey({ userId: user.id });
    const first = await create('"one too many"');
    await t.db.update(ApiKey, { userId: user.id }, { isActive: false });
    const again = await create('"one too many"');

    expect([first.status, first.body.code]).toEqual([400, 'api_key_limit_reached']);
    expect([again.status, again.text]).toEqual([400, first.text]);
    expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'));
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect((await create('"another key"')).status).toBe(200);
  });

  it('keeps no refusal that says the request was malformed, or that something must be done first', async () => {
    expect((await create('"mended"', { name: '' })).status).toBe(400);
    expect((await create('"mended"', { name: 'x', deep: nested(2_000) })).status).toBe(400);
    expect((await create('"mended"')).status).toBe(200);

    const strict = await startTestApp({
      settings: { REQUIRE_EMAIL_VERIFICATION: 'true' },
      databaseUrl: t.databaseUrl,
    });
    const { token, id } = await strict.make.user({ isVerified: false });
    const ask = (): Promise<Answer> =>
      strict.http.post('/auth/api-keys', {
        bearer: token,
        body: { name: 'n' },
        headers: { 'idempotency-key': 'k' },
      });
    expect((await ask()).status).toBe(403);
    await strict.db.query('UPDATE users SET is_verified = true WHERE id = $1', [id]);
    expect((await ask()).status).toBe(200);
    await strict.close();
  });

  function nested(depth: number): unknown {
    return JSON.parse('['.repeat(depth) + ']'.repeat(depth));
  }

  it('never keeps a failure of ours: nothing of it stays, and the same request may run again', async () => {
    await t.db.query('ALTER TABLE audit_details RENAME TO gone');
    const failed = await create('"again"');
    await t.db.query('ALTER TABLE gone RENAME TO audit_details');

    expect(failed.status).toBeGreaterThanOrEqual(500);
    expect(await keysOf()).toEqual([]);
    expect((await create('"again"')).status).toBe(200);
    expect(await keysOf()).toEqual(['once']);
  });

  it('is remembered for 24 hours', async () => {
    const first = await create('"day"');
    t.clock.advance(24 * HOUR_MS - 60_000);
    const later = await create('"day"', undefined, fresh());
    expect(later.text).toBe(first.text);
    t.clock.advance(120_000);
    expect((await create('"day"', { name: 'next day' }, fresh())).status).toBe(200);
    expect((await keysOf()).sort()).toEqual(['next day', 'once']);
  });

  /** An access token of now: that of the beginning has expired. */
  function fresh(): string {
    return t.make.accessToken(user.id, user.sessionId);
  }

  it('belongs to its user: the same key of another is another', async () => {
    const stranger = await t.make.user();
    const mine = await create('"shared"');
    const his = await create('"shared"', undefined, stranger.token);
    expect(his.headers.has('idempotency-replayed')).toBe(false);
    expect(his.body.api_key).not.toBe(mine.body.api_key);
    expect(await keysOf(stranger.id)).toHaveLength(1);
  });

  it('is for one route', async () => {
    await create('"route"');
    const { asked, ...request } = claimOf('route');
    await expect(
      t.app.get(Idempotency).begin({ ...request, asked: `${asked} elsewhere` }, CLAIM_MS),
    ).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
  });

  function claimOf(key: string): IdempotentRequest {
    return {
      userId: user.id,
      key,
      requestId: randomUUID(),
      asked: 'POST /api/v1/auth/api-keys {"name":"once"}',
    };
  }

  it('of a process that died is free again after fifteen seconds, and its late effect is refused', async () => {
    const idempotency = t.app.get(Idempotency);
    const dead = claimOf('dead');
    expect(await idempotency.begin(dead, CLAIM_MS)).toBeNull();
    expect((await create('"dead"')).status).toBe(409);

    t.clock.advance(CLAIM_MS);
    const answer = await create('"dead"');
    expect(answer.status).toBe(200);
    const late = t.db.transaction(async (tx) => {
      await tx.update(ApiKey, { userId: user.id }, { name: 'late' });
      await idempotency.keep(dead, { body: {} }, tx);
    });
    await expect(late).rejects.toMatchObject({ code: 'idempotent_request_running' });
    await idempotency.release(dead);
    expect(await keysOf()).toEqual(['once']);
    expect((await create('"dead"')).text).toBe(answer.text);
  });

  it('leaves nothing readable: neither itself, nor the request, nor the answer', async () => {
    const key = 'a-very-telling-key';
    const { body } = await create(key, { name: 'a very telling name' });
    const rows = await t.db.query<{ row: string; reply: string }[]>(
      `SELECT t::text AS row, encode(reply, 'escape') AS reply FROM idempotency_keys t WHERE user_id = $1`,
      [user.id],
    );
    expect(rows).toHaveLength(1);
    for (const secret of [key, 'telling', body.api_key as string, 'ctx_live']) {
      expect(rows[0]?.row).not.toContain(secret);
      expect(rows[0]?.reply).not.toContain(secret);
    }
  });

  it('changes nothing on a route that does not know it, nor where it is left out', async () => {
    const body = { email: user.email, password: 'wrong' };
    const headers = { 'idempotency-key': '"login"' };
    expect((await t.http.post('/auth/login', { body, headers })).status).toBe(401);
    expect((await t.http.post('/auth/login', { body, headers })).headers.has('idempotency-replayed')).toBe(
      false,
    );
    for (const name of ['one', 'two'])
      await t.http.post('/auth/api-keys', { bearer: user.token, body: { name } });
    expect((await keysOf()).sort()).toEqual(['one', 'two']);
  });
});
