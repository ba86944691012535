import { createHash, randomBytes } from 'node:crypto';
import { ApiKey } from '../../src/api-keys/api-key.entity';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import type { MadeUser } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };
const PREFIXES = 'sk_live_,SG.';

interface Result {
  readonly status: string;
  readonly api_key_id: string | null;
  readonly code: string | null;
}

/** Keys that customers had before, of which the service learns the SHA-256. */
describe('imported keys', () => {
  let t: TestApp;
  let admin: MadeUser;
  let owner: MadeUser;
  beforeAll(async () => {
    t = await startTestApp({ settings: { IMPORTED_KEY_PREFIXES: PREFIXES } });
    admin = await t.make.user({ role: 'admin' });
  });
  beforeEach(async () => {
    owner = await t.make.user();
  });
  afterAll(() => t.close());

  const newText = (prefix = 'sk_live_'): string => prefix + randomBytes(16).toString('hex');
  const hashOf = (text: string, encoding: 'hex' | 'base64url' = 'hex'): string =>
    createHash('sha256').update(text).digest(encoding);
  const itemOf = (text: string, more: object = {}): object => ({
    email: owner.email,
    name: 'Production',
    key_hash: hashOf(text),
    key_prefix: text.slice(0, 12),
    ...more,
  });
  const send = (keys: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
    t.http.post('/admin/api-keys/import', { bearer: admin.token, body: { keys }, headers });
  const results = async (...keys: object[]): Promise<Result[]> => {
    const { status, body } = await send(keys);
    expect(status).toBe(200);
    return (body as { results: Result[] }).results;
  };
  const use = (text: string): Promise<Answer> => t.http.from().post('/generate', { key: text, body: CALL });

  it('work as they did, in both headers, whichever way their hash was written', async () => {
    const texts = [newText(), newText('SG.'), newText('SG.a.b.')];
    const [hex = '', url = '', upper = ''] = texts;
    const taken = await results(
      itemOf(hex, { rate_limit_per_minute: 7, metadata: { from: 'before' } }),
      itemOf(url, { key_hash: hashOf(url, 'base64url') }),
      itemOf(upper, { key_hash: hashOf(upper).toUpperCase() }),
    );
    expect(taken.map(({ status }) => status)).toEqual(['created', 'created', 'created']);
    for (const text of texts) {
      expect((await use(text)).status).toBe(200);
      expect((await t.http.from().post('/generate', { bearer: text, body: CALL })).status).toBe(200);
      expect((await use(`${text}x`)).body.code).toBe('invalid_token');
    }
    const listed = await t.http.get('/auth/api-keys', { bearer: owner.token });
    expect(listed.body).toContainEqual(
      expect.objectContaining({
        id: taken[0]?.api_key_id,
        key_prefix: hex.slice(0, 12),
        rate_limit_per_minute: 7,
        metadata: { from: 'before' },
      }),
    );
  });

  it('are told of by mail and in the audit log, and their text is nowhere', async () => {
    const text = newText();
    const [taken] = await results(itemOf(text));
    await use(text);
    const mails = await t.mails(owner.email);
    expect(mails.map(({ subject }) => subject)).toEqual(['An API key was taken over']);
    expect(mails[0]?.text).toContain('"Production"');
    expect(await t.db.findBy(AuditEvent, { targetId: taken?.api_key_id ?? '' })).toMatchObject([
      { action: 'key.imported', actor: admin.id, subjectId: owner.id },
    ]);
    expect(t.logLines.join('\n')).not.toContain(text);
  });

  it('are rotated, reported as leaked and ended like any other', async () => {
    const text = newText();
    const [taken] = await results(itemOf(text));
    const path = `/auth/api-keys/${taken?.api_key_id}`;
    const rotated = await t.http.post(`${path}/rotate`, { bearer: owner.token, body: {} });
    expect(rotated.body.api_key).toMatch(/^ctx_live_/);
    for (const key of [text, rotated.body.api_key as string]) expect((await use(key)).status).toBe(200);

    const { id: userId } = await t.make.user({ tierOverride: 'internal' });
    const { key: service } = await t.make.apiKey({ userId, servicePermissions: ['keys:verify'] });
    const asked = await t.http.post('/keys/verify', { key: service, body: { key: text } });
    expect(asked.body).toMatchObject({ code: 'VALID', key_id: taken?.api_key_id });
    await t.http.post('/keys/leaks/report', { key: service, body: { key: text } });
    t.known();
    expect((await use(text)).body.code).toBe('compromised');
  });

  it('are told apart: new, known, of another account, and not to be taken', async () => {
    const [first, second] = [newText(), newText()];
    const other = await t.make.user();
    const [before] = await results(itemOf(first));
    const told = await results(
      itemOf(first, { name: 'again' }),
      itemOf(first, { email: other.email }),
      itemOf(second),
      itemOf(second),
      itemOf(newText(), { email: t.make.email() }),
      itemOf(newText('other_')),
      itemOf(newText(), { permissions: { fly: true } }),
      itemOf(newText(), { expires_at: '2020-01-01T00:00:00Z' }),
      itemOf(newText(), { rate_limit_per_minute: 1_000_000 }),
    );
    expect(told.map(({ status, code }) => code ?? status)).toEqual([
      'duplicate',
      'conflict',
      'created',
      'duplicate',
      'no_such_account',
      'unknown_key_prefix',
      'unknown_permissions',
      'expires_in_the_past',
      'rate_limit_above_plan',
    ]);
    expect(told[0]?.api_key_id).toBe(before?.api_key_id);
    expect(told[1]?.api_key_id).toBeNull();
    expect(await t.db.countBy(ApiKey, { userId: owner.id })).toBe(2);
    expect(await t.db.countBy(ApiKey, { userId: other.id })).toBe(0);
  });

  it('go to nobody who has not proven the address, or is suspended', async () => {
    for (const change of ['is_verified = false', 'is_active = false']) {
      const user = await t.make.user();
      await t.db.query(`UPDATE users SET ${change} WHERE id = $1`, [user.id]);
      const text = newText();
      const [taken] = await results(itemOf(text, { email: user.email }));
      expect(taken).toMatchObject({ status: 'invalid', code: 'owner_not_verified' });
      expect((await use(text)).status).toBe(401);
    }
  });

  it('are never stored whole as what they begin with, nor under a beginning that is never looked up', async () => {
    const text = 'sk_live_0123456789abcdef';
    const taken = await results(
      itemOf(text, { key_prefix: text }),
      itemOf(newText('ctx_old_'), { key_prefix: 'ctx_old_' }),
    );
    expect(taken.map(({ code }) => code)).toEqual(['key_prefix_is_whole_key', 'unknown_key_prefix']);
  });

  it('are as many as the plan allows, also when imported many times at once', async () => {
    const told = await Promise.all(
      Array.from({ length: 4 }, () => results(itemOf(newText()), itemOf(newText()))),
    );
    const codes = told.flat().map(({ status, code }) => code ?? status);
    expect(codes.filter((code) => code === 'created')).toHaveLength(5);
    expect(codes.filter((code) => code === 'api_key_limit_reached')).toHaveLength(3);
  });

  it('are taken once when the same are imported many times at once', async () => {
    const texts = [newText(), newText()];
    const told = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        results(...(i % 2 ? texts : [...texts].reverse()).map((text) => itemOf(text))),
      ),
    );
    expect(told.flat().filter(({ status }) => status === 'created')).toHaveLength(2);
    expect(told.flat().filter(({ status }) => status === 'duplicate')).toHaveLength(10);
  });

  it('may be sent again with an Idempotency-Key: the answer is the first one', async () => {
    const keys = [itemOf(newText())];
    const headers = { 'idempotency-key': '"import 1"' };
    const first = await send(keys, headers);
    const again = await send(keys, headers);
    expect(again.text).toBe(first.text);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect((await send([itemOf(newText())], headers)).status).toBe(422);
    expect(await t.db.countBy(ApiKey, { userId: owner.id })).toBe(1);
  });

  it.each<[string, unknown]>([
    ['no list', 'text'],
    ['nothing', []],
    ['no keys', [null]],
    ['texts', ['sk_live_a']],
    ['a hash of another kind', [{ key_hash: 'a'.repeat(40) }]],
    ['the key itself', [{ key_hash: 'sk_live_0123456789' }]],
    ['a beginning that is too short', [{ key_prefix: 'sk' }]],
    ['an unknown field', [{ service_permissions: ['keys:verify'] }]],
    ['too many', Array.from({ length: 101 }, () => ({}))],
  ])('are refused as %s', async (_what, keys) => {
    const items = Array.isArray(keys)
      ? keys.map((one: unknown) => (typeof one === 'object' && one ? itemOf(newText(), one) : one))
      : keys;
    const { status, body } = await send(items);
    expect([status, body.code]).toEqual([400, 'validation_failed']);
    expect(await t.db.countBy(ApiKey, { userId: owner.id })).toBe(0);
  });

  it('are imported by admins only', async () => {
    const body = { keys: [itemOf(newText())] };
    expect((await t.http.post('/admin/api-keys/import', { body })).status).toBe(401);
    expect((await t.http.post('/admin/api-keys/import', { bearer: owner.token, body })).status).toBe(403);
    const { key } = await t.make.apiKey({ servicePermissions: ['keys:verify'] });
    expect((await t.http.post('/admin/api-keys/import', { key, body })).status).toBe(403);
    expect(await t.db.countBy(ApiKey, { userId: owner.id })).toBe(0);
  });
});
