import { randomBytes, randomUUID } from 'node:crypto';
import { CleanupService } from '../../src/account/cleanup.service';
import { Session } from '../../src/auth/session.entity';
import { Attempts } from '../../src/limits/attempts';
import { IdempotencyKey } from '../../src/platform/idempotency/idempotency-key.entity';
import { startTestApp, type TestApp } from '../support/test-app';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe('cleanup', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  /** How many rows of each table are about the user or, in a table that names nobody, there at all. */
  async function rows(userId: string): Promise<number[]> {
    const [found] = await t.db.query<Record<string, number>[]>(
      `SELECT (SELECT count(*)::int FROM one_time_tokens WHERE user_id = $1) AS tokens,
              (SELECT count(*)::int FROM sessions WHERE user_id = $1) AS sessions,
              (SELECT count(*)::int FROM attempt_counts) AS attempts,
              (SELECT count(*)::int FROM idempotency_keys WHERE user_id = $1) AS keys`,
      [userId],
    );
    return Object.values(found ?? {});
  }

  it('deletes what is over, and nothing before', async () => {
    const user = await t.make.user();
    const origin = { requestId: 'r', ip: '192.0.2.1', userAgent: null };
    await t.http.post('/auth/password/reset', { body: { email: user.email } });
    await t.app.get(Attempts).take({ email: user.email }, origin);
    const headers = { 'idempotency-key': 'k' };
    await t.http.post('/auth/api-keys', { bearer: user.token, body: { name: 'n' }, headers });
    await t.settled();
    const cleanup = t.app.get(CleanupService);

    await cleanup.run();
    expect(await rows(user.id)).toEqual([1, 1, 1, 1]);
    t.clock.advance(HOUR_MS + 60_000);
    await cleanup.run();
    expect(await rows(user.id)).toEqual([1, 1, 0, 1]);
    t.clock.advance(DAY_MS + HOUR_MS);
    await cleanup.run();
    expect(await rows(user.id)).toEqual([0, 1, 0, 0]);
    t.clock.advance(29 * DAY_MS);
    await cleanup.run();
    expect(await rows(user.id)).toEqual([0, 0, 0, 0]);
  });

  it('deletes however much there is, while the service and other processes go on', async () => {
    const { id, sessionId } = await t.make.user();
    const old = { userId: id, fingerprint: randomBytes(4), reply: null, expiresAt: new Date(0) };
    const many = Array.from({ length: 2_300 }, () => ({
      ...old,
      keyHash: randomBytes(8),
      requestId: randomUUID(),
    }));
    await t.db.insert(IdempotencyKey, many);
    const cleanup = t.app.get(CleanupService);
    await Promise.all([cleanup.run(), cleanup.run()]);
    await cleanup.run();
    expect(await t.db.countBy(IdempotencyKey, { userId: id })).toBe(0);
    expect(await t.db.existsBy(Session, { id: sessionId })).toBe(true);
  });

  it('is left to whoever is at it', async () => {
    const { id } = await t.make.user();
    await t.db.insert(IdempotencyKey, {
      userId: id,
      keyHash: randomBytes(8),
      fingerprint: randomBytes(4),
      requestId: randomUUID(),
      reply: null,
      expiresAt: new Date(0),
    });
    await t.db.transaction(async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(hashtext('cortex-auth:cleanup'))`);
      await t.app.get(CleanupService).run();
    });
    expect(await t.db.countBy(IdempotencyKey, { userId: id })).toBe(1);
  });
});
