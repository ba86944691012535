import { hash } from 'node:crypto';
import { ApiKey } from '../../src/api-keys/api-key.entity';
import { generateApiKey } from '../../src/api-keys/api-key-secret';
import { AuditEvent } from '../../src/platform/audit/audit-event.entity';
import { FakeKeyList } from '../support/fake-key-list';
import type { Answer } from '../support/http';
import { itAlone, startTestApp, type TestApp } from '../support/test-app';

const CALL = { user_id: 'end-user', prompt: 'hi', provider: 'echo' };
const FOUND_AT = 'https://github.com/octocat/Hello-World/blob/main/.env';
const HOUR_MS = 3_600_000;

interface Found {
  readonly token: string;
  readonly url?: string;
}

describe('a leaked key', () => {
  const github = new FakeKeyList();
  let t: TestApp;
  let days = 0;
  let signed: (body: string) => Record<string, string>;
  beforeAll(async () => {
    await github.start();
    signed = github.addSigner('current');
    t = await startTestApp({ settings: { SECRET_SCANNING_KEYS_URL: github.url } });
  });
  afterEach(() => {
    // Each test finds a list that is too old to be believed.
    days += 2;
    t.clock.reset();
    t.clock.advance(days * 24 * HOUR_MS);
    github.status = 200;
  });
  afterAll(async () => {
    await t.close();
    await github.stop();
  });

  const bodyOf = (found: readonly Found[]): string =>
    JSON.stringify(
      found.map((one) => ({ type: 'cortex_api_key', url: FOUND_AT, source: 'content', ...one })),
    );
  const send = (raw: string, headers: Record<string, string>): Promise<Answer> =>
    t.http.from().post('/keys/leaks', { raw, headers });
  const report = (...found: Found[]): Promise<Answer> => send(bodyOf(found), signed(bodyOf(found)));
  const use = (key: string): Promise<Answer> => t.http.from().post('/generate', { key, body: CALL });
  const serviceKey = async (servicePermissions: string[]): Promise<string> => {
    const { id: userId } = await t.make.user({ tierOverride: 'internal' });
    return (await t.make.apiKey({ userId, servicePermissions })).key;
  };
  const events = (id: string): Promise<AuditEvent[]> =>
    t.db.findBy(AuditEvent, { targetId: id, action: 'key.compromised' });

  it('is ended at once and for good, in every way it could be used, and its owner learns where it was', async () => {
    const owner = await t.make.user();
    const { id, key } = await t.make.apiKey({ userId: owner.id, name: 'Production' });
    expect((await use(key)).status).toBe(200);
    const answer = await report({ token: key });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual([
      { token_hash: hash('sha256', key), token_type: 'cortex_api_key', label: 'true_positive' },
    ]);

    t.known();
    for (const refused of [
      await use(key),
      await t.http.get('/auth/validate', { bearer: key }),
      await t.http.get('/auth/forward', { key }),
    ])
      expect([refused.status, refused.body.code]).toEqual([401, 'compromised']);
    const asked = await t.http.post('/keys/verify', {
      key: await serviceKey(['keys:verify']),
      body: { key },
    });
    expect(asked.body).toMatchObject({ valid: false, code: 'COMPROMISED', key_id: id });

    const shown = await t.http.get(`/auth/api-keys/${id}`, { bearer: owner.token });
    expect(shown.body).toMatchObject({ is_active: false, leak_url: FOUND_AT });
    expect(shown.body.compromised_at).not.toBeNull();
    const rotated = await t.http.post(`/auth/api-keys/${id}/rotate`, { bearer: owner.token, body: {} });
    expect(rotated.body.code).toBe('api_key_inactive');

    const [mail, ...more] = await t.mails(owner.email);
    expect(more).toEqual([]);
    expect(mail?.subject).toBe('An API key was leaked and has been ended');
    expect(mail?.text).toContain('"Production"');
    expect(mail?.text).toContain(FOUND_AT);
    expect(`${mail?.text}${mail?.html}`).not.toContain(key);
    expect(await events(id)).toMatchObject([
      { subjectId: owner.id, actor: null, requestId: answer.headers.get('x-request-id') },
    ]);
  });

  it('is ended in other processes within a second', async () => {
    const other = await startTestApp({ databaseUrl: t.databaseUrl });
    try {
      const { key } = await t.make.apiKey();
      const call = { key, body: CALL };
      expect((await other.http.post('/generate', call)).status).toBe(200);
      await report({ token: key });
      other.clock.advance(1_000);
      expect((await other.http.post('/generate', call)).body.code).toBe('compromised');
    } finally {
      await other.close();
    }
  });

  it('may be reported again and by many at once: one mail, one line in the audit log', async () => {
    const owner = await t.make.user();
    const { id, key } = await t.make.apiKey({ userId: owner.id });
    const answers = await Promise.all(Array.from({ length: 10 }, () => report({ token: key })));
    answers.push(await report({ token: key }, { token: key }));
    for (const { body } of answers) expect(body[0].label).toBe('true_positive');
    expect(await events(id)).toHaveLength(1);
    expect(await t.mails(owner.email)).toHaveLength(1);
  });

  it('is told from what is none, each for itself, in a report of many', async () => {
    const keys = [await t.make.apiKey(), await t.make.apiKey()];
    const untouched = await t.make.apiKey();
    const found = [keys[0]?.key, generateApiKey('live').key, 'some_token', '\0\ud800', keys[1]?.key];
    const answer = await report(...found.map((token = '') => ({ token, url: '' })));
    expect((answer.body as { label: string }[]).map(({ label }) => label)).toEqual([
      'true_positive',
      'false_positive',
      'false_positive',
      'false_positive',
      'true_positive',
    ]);
    for (const { id } of keys)
      expect(await t.db.findOneByOrFail(ApiKey, { id })).toMatchObject({ isActive: false, leakUrl: null });
    expect((await use(untouched.key)).status).toBe(200);
  });

  it('is not ended for an old secret that has come to its end, and is for one that still works', async () => {
    const owner = await t.make.user();
    const { id, key } = await t.make.apiKey({ userId: owner.id });
    const rotate = async (): Promise<string> => {
      const bearer = t.make.accessToken(owner.id, owner.sessionId);
      const rotated = await t.http.post(`/auth/api-keys/${id}/rotate`, {
        bearer,
        body: { overlap_hours: 1 },
      });
      return rotated.body.api_key as string;
    };
    const current = await rotate();
    t.clock.advance(HOUR_MS);
    expect((await report({ token: key })).body[0].label).toBe('true_positive');
    expect((await use(current)).status).toBe(200);

    const latest = await rotate();
    await report({ token: current });
    expect((await use(latest)).body.code).toBe('compromised');
  });

  it('stays what it was when its owner had ended it before', async () => {
    const owner = await t.make.user();
    const { id, key } = await t.make.apiKey({ userId: owner.id, isActive: false });
    expect((await report({ token: key })).body[0].label).toBe('true_positive');
    expect((await use(key)).body.code).toBe('disabled');
    expect(await events(id)).toEqual([]);
    expect(await t.mails(owner.email)).toEqual([]);
  });

  it('shows its owner no address that is not of the web', async () => {
    for (const url of ['javascript:alert(1)', 'file:///etc/passwd', 'no address', '\0']) {
      const { id, key } = await t.make.apiKey();
      expect((await report({ token: key, url })).status).toBe(200);
      expect((await t.db.findOneByOrFail(ApiKey, { id })).leakUrl).toBeNull();
    }
  });

  describe('is not ended by a report', () => {
    const refused = async (answer: Promise<Answer>, key: string): Promise<void> => {
      const { status, body } = await answer;
      expect([status, body.code]).toEqual([403, 'invalid_leak_signature']);
      expect((await use(key)).status).toBe(200);
    };

    it('without a signature, with another one, of another body, or of a key that nobody lists', async () => {
      const { key } = await t.make.apiKey();
      const body = bodyOf([{ token: key }]);
      const headers = signed(body);
      const stranger = new FakeKeyList().addSigner('current');
      for (const wrong of [
        { 'content-type': 'application/json' },
        { ...headers, 'github-public-key-signature': '' },
        { ...headers, 'github-public-key-signature': 'c2lnbmF0dXJl' },
        { ...headers, 'github-public-key-identifier': 'nobody' },
        signed(body.replace('content', 'commit')),
        stranger(body),
      ])
        await refused(send(body, wrong), key);
      await refused(send(`${body} `, headers), key);
    });

    it('of a key on another curve', async () => {
      const weak = github.addSigner('weak', 'secp256k1');
      const { key } = await t.make.apiKey();
      const body = bodyOf([{ token: key }]);
      await refused(send(body, weak(body)), key);
    });

    it('that is no list of what was found', async () => {
      for (const body of ['{}', '[{}]', '[{"token":1,"type":"a"}]', '[', 'null', '']) {
        const { status } = await send(body, signed(body));
        expect([400, 403]).toContain(status);
      }
    });
  });

  it("takes GitHub's published example", async () => {
    const body = '[{"token":"some_token","type":"some_type","url":"some_url","source":"some_source"}]';
    github.list(
      'f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d',
      '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsz9ugWDj5jK5ELBK42ynytbo38gP\nHzZFI03Exwz8Lh/tCfL3YxwMdLjB+bMznsanlhK0RwcGP3IDb34kQDIo3Q==\n-----END PUBLIC KEY-----\n',
    );
    const { body: labels } = await send(body, {
      'content-type': 'application/json',
      'github-public-key-identifier': 'f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d',
      'github-public-key-signature':
        'MEUCIFLZzeK++IhS+y276SRk2Pe5LfDrfvTXu6iwKKcFGCrvAiEAhHN2kDOhy2I6eGkOFmxNkOJ+L2y8oQ9A2T9GGJo6WJY=',
    });
    expect(labels).toMatchObject([{ token_type: 'some_type', label: 'false_positive' }]);
  });

  describe('the list of signing keys', () => {
    itAlone('inside')(
      'is read once an hour, and for a key that is new; not for each of many that are unknown',
      async () => {
        await report({ token: 'a' });
        const before = github.reads;
        await Promise.all(Array.from({ length: 20 }, () => report({ token: 'a' })));
        expect(github.reads).toBe(before);

        t.clock.advance(120_000);
        const headers = { ...signed('[]'), 'github-public-key-identifier': 'unknown' };
        await Promise.all(Array.from({ length: 20 }, () => send('[]', headers)));
        expect(github.reads).toBe(before + 1);

        const fresh = github.addSigner('fresh');
        t.clock.advance(120_000);
        expect((await send('[]', fresh('[]'))).status).toBe(200);
        github.listed = github.listed.filter(({ key_identifier: id }) => id !== 'fresh');
        t.clock.advance(HOUR_MS);
        expect((await send('[]', fresh('[]'))).status).toBe(403);
      },
    );

    itAlone('inside').each([500, 302, 404])(
      'answered with %d refuses reports for the moment, and does nothing',
      async (status) => {
        const { key } = await t.make.apiKey();
        github.status = status;
        const before = github.reads;
        for (let i = 0; i < 3; i++) {
          const answer = await report({ token: key });
          expect([answer.status, answer.body.code]).toEqual([503, 'leak_signers_unavailable']);
        }
        expect(github.reads).toBe(before + 1);
        github.status = 200;
        t.clock.advance(120_000);
        expect((await report({ token: key })).body[0].label).toBe('true_positive');
      },
    );
  });

  describe('POST /keys/leaks/report', () => {
    it('lets a service of the operator report one', async () => {
      const owner = await t.make.user();
      const { id, key } = await t.make.apiKey({ userId: owner.id });
      const service = await serviceKey(['keys:verify']);
      const tell = (text: string): Promise<Answer> =>
        t.http.from().post('/keys/leaks/report', { key: service, body: { key: text } });
      expect((await tell(key)).body).toEqual({ label: 'true_positive' });
      expect((await tell(key)).body).toEqual({ label: 'true_positive' });
      expect((await tell(generateApiKey('test').key)).body).toEqual({ label: 'false_positive' });
      expect((await use(key)).body.code).toBe('compromised');
      expect(await events(id)).toHaveLength(1);
      expect(await t.mails(owner.email)).toHaveLength(1);
    });

    it('is for nobody else', async () => {
      const { key } = await t.make.apiKey();
      const { token } = await t.make.user();
      const body = { key };
      expect((await t.http.post('/keys/leaks/report', { body })).status).toBe(401);
      expect((await t.http.post('/keys/leaks/report', { bearer: token, body })).status).toBe(403);
      const other = await serviceKey([]);
      expect((await t.http.post('/keys/leaks/report', { key: other, body })).body.code).toBe(
        'insufficient_permissions',
      );
      expect((await use(key)).status).toBe(200);
    });
  });
});
