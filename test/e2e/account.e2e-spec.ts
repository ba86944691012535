import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { verifyAudit } from '../../src/platform/audit/audit-verifier';
import { AuditSealer } from '../../src/platform/audit/audit-sealer';
import { Derivation } from '../../src/platform/crypto/derivation';
import { Ledger } from '../../src/usage/ledger';
import { UsageLog } from '../../src/usage/usage-log.entity';
import { UsageService } from '../../src/usage/usage.service';
import { ATTEMPTS_MAX } from '../../src/limits/attempts';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { makeJobsDue } from '../support/jobs';
import { startTestApp, type TestApp } from '../support/test-app';
import { usageLine } from '../support/usage-lines';

type Made = Awaited<ReturnType<TestApp['make']['user']>>;

describe('leaving', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { SIGNUP_ENUMERATION_SAFE: 'true' } });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const generate = (key: string): Promise<Answer> =>
    t.http.post('/generate', {
      key,
      body: { user_id: 'his end user', prompt: 'hello', provider: 'echo' },
      headers: { 'user-agent': 'telling agent/1' },
    });
  const erase = ({ token }: Pick<Made, 'token'>, password: string = PASSWORD): Promise<Answer> =>
    t.http.delete('/auth/me', { bearer: token, body: { password } });

  describe('GET /auth/me/export', () => {
    it('holds the account, its sessions, keys, calls, sums and events, and nothing of anybody else', async () => {
      const user = await t.make.user({ firstName: 'Ada' });
      const other = await t.make.user();
      const { key } = await t.make.apiKey({ userId: user.id, name: 'mine' });
      await generate(key);
      await generate((await t.make.apiKey({ userId: other.id })).key);
      await t.http.post('/auth/api-keys', { bearer: user.token, body: { name: 'second' } });

      const answer = await t.http.get('/auth/me/export', { bearer: user.token });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-disposition')).toContain('attachment');
      expect(answer.body).toMatchObject({
        account: { id: user.id, email: user.email, first_name: 'Ada' },
        sessions: [{ id: user.sessionId, is_current: true }],
        usage: { total_requests: 1, calls: [{ operation: 'generate', user_agent: 'telling agent/1' }] },
        audit: [{ action: 'key.created' }],
      });
      expect(answer.body.api_keys.map(({ name }: { name: string }) => name)).toEqual(['second', 'mine']);
      expect(answer.body.usage.calls).toHaveLength(1);
      expect(answer.text).not.toContain(other.id);
    });

    it('is whole however much there is', async () => {
      const user = await t.make.user();
      const calls = 1_203;
      const { key } = await t.make.apiKey({ userId: user.id });
      const first = (await generate(key)).body as { request_id: string };
      const line = await t.db.findOneByOrFail(UsageLog, { id: first.request_id });
      const at = (i: number): Date => new Date(line.createdAt.getTime() - (i % 7) * 1_000);
      const more = Array.from({ length: calls - 1 }, (_, i) =>
        Object.assign(new UsageLog(), line, { id: randomUUID(), createdAt: at(i) }),
      );
      await Promise.all(more.map((call) => t.app.get(Ledger).append(call)));
      const { body } = await t.http.get('/auth/me/export', { bearer: user.token });
      const ids = (body.usage.calls as { id: string }[]).map(({ id }) => id);
      expect(new Set(ids).size).toBe(calls);
      expect(ids).toHaveLength(calls);
    });
  });

  describe('an account with very many keys', () => {
    const [others, active] = [2_300, 5];
    let user: Made;
    beforeAll(async () => {
      user = await t.make.user();
      // The active ones are the oldest: everything that came after them was ended.
      await t.db.query(
        `WITH made AS (
           INSERT INTO api_keys (id, user_id, name, is_active, rate_limit_per_minute, created_at)
           SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, 'key ' || n, n <= $3, 100, now()
           FROM generate_series(1, $2::int) AS n RETURNING id)
         INSERT INTO api_key_versions (id, api_key_id, key_hash, key_prefix, created_at)
         SELECT id, id, id::text, 'ctx_live_' || right(id::text, 4), now() FROM made`,
        [user.id, others + active, active],
      );
    });
    interface Listed {
      readonly id: string;
      readonly name: string;
      readonly is_active: boolean;
      readonly key_prefix: string;
    }

    it('is listed up to 1,000, the active ones in any case, newest first', async () => {
      const keys = (await t.http.get('/auth/api-keys', { bearer: user.token })).body as Listed[];
      expect(keys).toHaveLength(1_000);
      expect(keys.filter(({ is_active }) => is_active)).toHaveLength(active);
      expect(keys.map(({ id }) => id)).toEqual(
        keys
          .map(({ id }) => id)
          .sort()
          .reverse(),
      );
      expect(keys[0]?.name).toBe(`key ${others + active}`);
      for (const { id, key_prefix } of keys) expect(key_prefix).toBe(`ctx_live_${id.slice(-4)}`);
    });

    it('is exported whole', async () => {
      const { body } = await t.http.get('/auth/me/export', { bearer: user.token });
      const keys = body.api_keys as Listed[];
      expect(keys).toHaveLength(others + active);
      expect(new Set(keys.map(({ id }) => id)).size).toBe(others + active);
    });

    it('is read by statements that do not grow with it', async () => {
      const sent = jest.spyOn(Client.prototype, 'query');
      await t.http.get('/auth/api-keys', { bearer: user.token });
      const calls = sent.mock.calls as unknown as [unknown, unknown][];
      const values = calls.map(([, given]) => (Array.isArray(given) ? given.length : 0));
      sent.mockRestore();
      expect(Math.max(...values)).toBeLessThan(10);
    });
  });

  describe('DELETE /auth/me', () => {
    it('ends every way in at once, in every process within a second (T14)', async () => {
      const second = await startTestApp({ databaseUrl: t.databaseUrl });
      const user = await t.make.user();
      const key = await t.make.apiKey({ userId: user.id });
      await t.http.post('/auth/password/reset', { body: { email: user.email } });
      const reset = /#token=([\w-]+)/.exec((await t.mails(user.email))[0]?.text ?? '')?.[1] ?? '';
      expect((await second.http.get('/auth/me', { bearer: user.token })).status).toBe(200);
      expect((await second.http.post('/generate', { key: key.key, body: {} })).status).toBe(400);

      expect((await erase(user)).status).toBe(200);
      second.clock.advance(1_000);

      for (const { http } of [t, second]) {
        const login = { email: user.email, password: PASSWORD };
        const answers = await Promise.all([
          http.get('/auth/me', { bearer: user.token }),
          http.post('/auth/refresh', { body: { refresh_token: user.refreshToken } }),
          http.post('/generate', { key: key.key, body: {} }),
          http.post('/auth/login', { body: login }),
          http.post('/auth/login', { body: { ...login, email: `${user.id}@erased.invalid` } }),
          http.post('/auth/login', {
            body: { ...login, email: `${user.id}@erased.invalid`, password: 'erased' },
          }),
        ]);
        expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 400, 400]);
      }
      const confirm = { token: reset, new_password: 'a whole new passphrase' };
      expect(reset).not.toBe('');
      expect((await t.http.post('/auth/password/reset/confirm', { body: confirm })).status).toBe(400);
      await second.close();
    });

    it('is not stopped by a sign-up with the address that the account gets then', async () => {
      const user = await t.make.user();
      const body = { email: `${user.id}@erased.invalid`, password: PASSWORD };
      expect((await t.http.from().post('/auth/register', { body })).body.code).toBe('validation_failed');
      expect((await erase(user)).status).toBe(200);
    });

    it('leaves nothing personal in any table, keeps the ledger and the chain of the audit log, and frees the address', async () => {
      const user = await t.make.user({ firstName: 'Whisper', lastName: 'whisper', company: 'Whisper Inc' });
      const { key } = await t.make.apiKey({ userId: user.id, name: 'whisper' });
      const http = t.http.from();
      const headers = { 'user-agent': 'whisper/1', 'idempotency-key': 'whisper' };
      await http.post('/generate', {
        key,
        body: { user_id: 'whisper', prompt: 'p', provider: 'echo' },
        headers,
      });
      await http.post('/auth/api-keys', { bearer: user.token, body: { name: 'whisper too' }, headers });
      await http.post('/auth/login', { body: { email: user.email, password: PASSWORD }, headers });
      await http.post('/auth/password/reset', { body: { email: user.email }, headers });
      await t.settled();
      const words = [user.email, 'whisper', 'Whisper', http.address];
      expect(new Set(await traces(words)).size).toBeGreaterThan(4);
      const ledger = await t.app.get(UsageService).stats(user.id);

      const body = { password: PASSWORD };
      expect((await http.delete('/auth/me', { bearer: user.token, body, headers })).status).toBe(200);
      await t.settled();

      expect(await traces(words)).toEqual([]);
      expect(await t.app.get(UsageService).stats(user.id)).toEqual(ledger);
      expect(await t.db.countBy(UsageLog, { userId: user.id })).toBe(1);
      await t.app.get(AuditSealer).seal();
      expect((await verifyAudit(t.db, t.app.get(Derivation))).problems).toEqual([]);
      const again = { email: user.email, password: 'another good passphrase' };
      expect((await t.http.post('/auth/register', { body: again })).body.id).not.toBe(user.id);
      expect((await t.http.post('/auth/login', { body: again })).status).toBe(200);
    });

    it('leaves nothing personal in what is reported later, or in calls that were under way', async () => {
      const { id: reporterId } = await t.make.user({ tierOverride: 'internal' });
      const reporter = await t.make.apiKey({ userId: reporterId, servicePermissions: ['usage:write'] });
      const user = await t.make.user();
      const { id: apiKeyId } = await t.make.apiKey({ userId: user.id });
      expect((await erase(user)).status).toBe(200);
      await t.settled();

      const late = { operation: 'search', input_tokens: 6, end_user: 'mumble', metadata: { said: 'mumble' } };
      const events = [
        { ...late, id: 'mumble 1', user_id: user.id },
        { ...late, id: 'mumble 2', api_key_id: apiKeyId },
      ];
      const answer = await t.http.post('/usage/events', { key: reporter.key, body: { events } });
      expect(answer.body).toMatchObject({ created: 2 });
      const lines = await t.db.findBy(UsageLog, { userId: user.id });
      expect(lines.map(({ tokensUsed, metadata }) => [tokensUsed, metadata])).toEqual([
        [6, {}],
        [6, {}],
      ]);

      const underWay = usageLine({ userId: user.id, ipAddress: '192.0.2.7', userAgent: 'mumble/1' });
      await t.app.get(Ledger).append(underWay);
      await makeJobsDue(t.db);
      await t.settled();
      expect(await traces(['mumble', '192.0.2.7'])).toEqual([]);
    });

    /** The rows about anybody in which one of the words stands, by table. */
    async function traces(words: readonly string[]): Promise<string[]> {
      const tables = await t.db.query<{ name: string }[]>(
        `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('public', 'pgboss')`,
      );
      const found: string[] = [];
      for (const { name } of tables) {
        const rows = await t.db.query<{ row: string }[]>(`SELECT t::text AS row FROM ${name} t`);
        found.push(...rows.filter(({ row }) => words.some((word) => row.includes(word))).map(() => name));
      }
      return found;
    }

    it('tells the old address once, and sends nothing else any more, not even what waits', async () => {
      const user = await t.make.user();
      await erase(user);
      expect((await t.mails(user.email)).map(({ subject }) => subject)).toEqual(['Your account was erased']);
      expect(await t.mails(`${user.id}@erased.invalid`)).toEqual([]);
      await t.http.post('/auth/password/reset', { body: { email: `${user.id}@erased.invalid` } });
      await t.settled();
      expect(await t.mails(`${user.id}@erased.invalid`)).toEqual([]);
    });

    it('needs the password, and counts a wrong one as a guess', async () => {
      const user = await t.make.user();
      for (let i = 0; i < ATTEMPTS_MAX; i++) {
        const answer = await erase(user, 'wrong');
        expect([answer.status, answer.body.code]).toEqual([400, 'wrong_password']);
      }
      expect((await erase(user)).body.code).toBe('wrong_password');
      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(200);
    });

    it('does not count a right password, and happens once, of ten at once', async () => {
      const user = await t.make.user();
      const answers = await Promise.all(Array.from({ length: 10 }, () => erase(user)));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      const events = await t.db.query<{ action: string }[]>(
        'SELECT action FROM audit_events WHERE subject_id = $1',
        [user.id],
      );
      expect(events).toEqual([{ action: 'user.erased' }]);
    });

    it("leaves everybody else's account as it is", async () => {
      const [user, other] = [await t.make.user(), await t.make.user({ firstName: 'Bob' })];
      const { key } = await t.make.apiKey({ userId: other.id });
      await erase(user);
      expect((await generate(key)).status).toBe(200);
      expect((await t.http.get('/auth/me', { bearer: other.token })).body.first_name).toBe('Bob');
    });
  });
});
