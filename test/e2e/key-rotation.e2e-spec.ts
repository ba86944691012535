import { hashApiKey } from '../../src/api-keys/api-key-secret';
import { ApiKeyVersion } from '../../src/api-keys/api-key-version.entity';
import { UsageLog } from '../../src/usage/usage-log.entity';
import { migrate } from '../../src/platform/database/migrate';
import { asApplication } from '../support/database';
import type { Answer } from '../support/http';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };
const HOUR_MS = 60 * 60 * 1_000;

describe('rotating an API key', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const call = (key: string): Promise<Answer> => t.http.from().post('/generate', { key, body: CALL });
  const rotate = (bearer: string, id: string, body: object = {}): Promise<Answer> =>
    t.http.post(`/auth/api-keys/${id}/rotate`, { bearer, body });
  const show = (bearer: string, id: string): Promise<Answer> =>
    t.http.get(`/auth/api-keys/${id}`, { bearer });

  async function owned(): Promise<{ token: string; refreshToken: string; id: string; key: string }> {
    const { token, id: userId, refreshToken } = await t.make.user();
    const { id, key } = await t.make.apiKey({ userId });
    return { token, id, key, refreshToken };
  }

  it('answers like a creation: a new secret of the same key, whose hash alone is stored', async () => {
    const { token, id, key } = await owned();
    const { status, body } = await rotate(token, id);
    expect(status).toBe(200);
    expect(body.api_key).toMatch(/^ctx_live_[0-9A-Za-z]{36}$/);
    expect(body.api_key).not.toBe(key);
    expect(body.api_key_info).toMatchObject({ id, name: 'test', key_prefix: body.api_key.slice(0, 13) });
    expect(await t.db.countBy(ApiKeyVersion, { keyHash: hashApiKey(body.api_key) })).toBe(1);
  });

  it('lets the old secret work for the overlap, to the moment', async () => {
    const { token, id, key } = await owned();
    const { body } = await rotate(token, id, { overlap_hours: 2 });
    t.clock.advance(2 * HOUR_MS - 5_000);
    expect((await call(key)).status).toBe(200);
    t.clock.advance(5_000);
    expect((await call(key)).body.code).toBe('expired');
    expect((await call(body.api_key)).status).toBe(200);
  });

  it('lets it work for a day unless told otherwise', async () => {
    const { token, id } = await owned();
    const { body } = await rotate(token, id);
    const [, old] = body.api_key_info.versions as { expires_at: string; created_at: string }[];
    const [fresh] = body.api_key_info.versions as { created_at: string }[];
    expect(Date.parse(old?.expires_at ?? '') - Date.parse(fresh?.created_at ?? '')).toBe(24 * HOUR_MS);
  });

  it('ends every old secret at once with an overlap of zero', async () => {
    const { token, id, key } = await owned();
    const second = (await rotate(token, id, { overlap_hours: 720 })).body.api_key as string;
    expect([(await call(key)).status, (await call(second)).status]).toEqual([200, 200]);
    const third = (await rotate(token, id, { overlap_hours: 0 })).body.api_key as string;
    t.known();
    expect([(await call(key)).status, (await call(second)).status]).toEqual([401, 401]);
    expect((await call(third)).status).toBe(200);
  });

  it.each([-1, 721, 0.5, '24', null])('refuses an overlap of %p', async (overlap) => {
    const { token, id } = await owned();
    expect((await rotate(token, id, { overlap_hours: overlap })).body.code).toBe('validation_failed');
    expect(await t.db.countBy(ApiKeyVersion, { apiKeyId: id })).toBe(1);
  });

  it('spends one rate limit, whichever secret is used', async () => {
    const { token, id: userId } = await t.make.user();
    const { id, key } = await t.make.apiKey({ userId, rateLimitPerMinute: 6 });
    const fresh = (await rotate(token, id)).body.api_key as string;
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => call(i % 2 ? key : fresh)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(6);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(6);
  });

  it('fails no request while it happens, again and again, and all are calls of the one key', async () => {
    const { token, id: userId } = await t.make.user({ billingTier: 'enterprise' });
    const { id, key: first } = await t.make.apiKey({ userId, rateLimitPerMinute: 100_000 });
    let key = first;
    let rotations = 0;
    const statuses: number[] = [];
    const load = Array.from({ length: 8 }, async () => {
      while (rotations < 4) statuses.push((await call(key)).status);
    });
    for (; rotations < 4; rotations++)
      key = (await rotate(token, id, { overlap_hours: 1 })).body.api_key as string;
    await Promise.all(load);
    expect(statuses.length).toBeGreaterThan(8);
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(await t.db.countBy(UsageLog, { apiKeyId: id })).toBe(statuses.length);
  });

  itAlone('inside')('shows when each secret was last used, and which old one can go', async () => {
    const { token, id, key, refreshToken } = await owned();
    await call(key);
    const fresh = (await rotate(token, id)).body.api_key as string;
    t.clock.advance(HOUR_MS);
    const login = await t.http.post('/auth/refresh', { body: { refresh_token: refreshToken } });
    const versions = async (): Promise<Record<string, unknown>[]> =>
      (await show(login.body.access_token, id)).body.versions as Record<string, unknown>[];

    expect(await versions()).toMatchObject([
      { is_current: true, last_used: null, safe_to_end: false },
      { is_current: false, last_used: expect.any(String) as string, safe_to_end: false },
    ]);
    await call(fresh);
    expect(await versions()).toMatchObject([
      { is_current: true, last_used: expect.any(String) as string, safe_to_end: false },
      { is_current: false, safe_to_end: true },
    ]);
    await call(key);
    expect((await versions())[1]).toMatchObject({ safe_to_end: false });
  });

  it('has its old secret ended before its time, at once, and never the current one', async () => {
    const { token, id, key } = await owned();
    const { body } = await rotate(token, id);
    const [current, old] = body.api_key_info.versions as { id: string }[];
    const end = (version = ''): Promise<Answer> =>
      t.http.delete(`/auth/api-keys/${id}/versions/${version}`, { bearer: token });
    expect((await call(key)).status).toBe(200);
    expect((await end(old?.id)).body).toEqual({ message: 'Old secret ended' });
    t.known();
    expect((await call(key)).status).toBe(401);
    expect((await end(old?.id)).body.code).toBe('api_key_version_not_found');
    expect((await end(current?.id)).body.code).toBe('api_key_version_not_found');
    expect((await call(body.api_key)).status).toBe(200);
  });

  it('keeps at most five secrets working, of ten asked for at once, and one of them current', async () => {
    const { token, id } = await owned();
    const answers = await Promise.all(Array.from({ length: 10 }, () => rotate(token, id)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
    expect(answers.filter(({ body }) => body.code === 'too_many_api_key_versions')).toHaveLength(6);
    const { body } = await show(token, id);
    expect((body.versions as { is_current: boolean }[]).map(({ is_current }) => is_current)).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
    expect((await rotate(token, id, { overlap_hours: 0 })).status).toBe(200);
  });

  it('is refused for a deactivated key', async () => {
    const { token, id: userId } = await t.make.user();
    const { id } = await t.make.apiKey({ userId, isActive: false });
    expect((await rotate(token, id)).body.code).toBe('api_key_inactive');
  });

  it("T25: is not found for another user's key, nor is its secret ended by an own one's id", async () => {
    const [mine, theirs] = [await owned(), await owned()];
    const { body } = await rotate(theirs.token, theirs.id);
    const [, old] = body.api_key_info.versions as { id: string }[];
    expect((await rotate(mine.token, theirs.id)).body.code).toBe('api_key_not_found');
    for (const id of [mine.id, theirs.id]) {
      const answer = await t.http.delete(`/auth/api-keys/${id}/versions/${old?.id ?? ''}`, {
        bearer: mine.token,
      });
      expect(answer.status).toBe(404);
    }
    expect((await call(theirs.key)).status).toBe(200);
  });

  it('came to keys that there were before: their secrets survive the migration, there and back', async () => {
    const { id, key } = await owned();
    const hashes = async (table: string, column: string): Promise<string[]> =>
      (
        await t.db.query<{ key_hash: string }[]>(`SELECT key_hash FROM ${table} WHERE ${column} = $1`, [id])
      ).map((row) => row.key_hash);
    const source = t.db.dataSource;
    const done = async (): Promise<string[]> =>
      (await t.db.query<{ name: string }[]>('SELECT name FROM migrations')).map(({ name }) => name);
    while ((await done()).some((name) => name.startsWith('ApiKeyVersions')))
      await source.undoLastMigration({ transaction: 'each' });
    expect(await hashes('api_keys', 'id')).toEqual([hashApiKey(key)]);
    await migrate(source, asApplication(t.databaseUrl));
    expect(await hashes('api_key_versions', 'api_key_id')).toEqual([hashApiKey(key)]);
    expect((await call(key)).status).toBe(200);
  });
});
