import { request } from 'node:http';
import * as bcrypt from 'bcrypt';
import fc from 'fast-check';
import { ATTEMPTS_MAX, LOCK_MS } from '../../src/limits/attempts';
import { Passwords } from '../../src/platform/crypto/passwords';
import { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';
import { enrolled } from '../support/two-factor';

/** Set WALKS for more random walks than the default. */
const WALKS = Math.max(1, Number.parseInt(process.env['WALKS'] ?? '15', 10));
const NEW_PASSWORD = 'an entirely new one';

/** What broke elsewhere, tried here. Sign-up does not tell who is registered. */
describe('attacks on accounts', () => {
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
  const login = (email: string, password: string, more: object = {}): Promise<Answer> =>
    post('/auth/login', { email, password, ...more });
  const mailed = async (address: string, page: string): Promise<string> => {
    const mails = await t.mails(address);
    return mails.flatMap(({ text }) => new RegExp(`/${page}#token=([\\w-]+)`).exec(text)?.[1] ?? [])[0] ?? '';
  };
  const confirm = (token: unknown, password = NEW_PASSWORD): Promise<Answer> =>
    post('/auth/password/reset/confirm', { token, new_password: password });
  const hashOf = async (id: string): Promise<string> => {
    const [row] = await t.db.query<{ password_hash: string }[]>(
      'SELECT password_hash FROM users WHERE id = $1',
      [id],
    );
    return row?.password_hash ?? '';
  };

  describe('T3: a password', () => {
    const steps = [
      'ask',
      'newest',
      'older',
      "a stranger's",
      'verification',
      'changed',
      'none',
      'later',
    ] as const;

    it(`changes by no way through the reset but the newest mailed token, in ${WALKS} random walks`, async () => {
      const other = await t.make.user();
      await post('/auth/password/reset', { email: other.email });
      const strangers = await mailed(other.email, 'reset-password');
      const unproven = t.make.email();
      await post('/auth/register', { email: unproven, password: PASSWORD });
      const verification = await mailed(unproven, 'verify-email');

      const walk = async (path: readonly (typeof steps)[number][]): Promise<void> => {
        const { id, email } = await t.make.user();
        let newest = '';
        const older: string[] = [];
        const askedAtMs: number[] = [];
        for (const step of path) {
          const before = await hashOf(id);
          const tokens = {
            newest,
            older: older.at(-1),
            "a stranger's": `${newest.slice(0, 22)}${strangers.slice(22)}`,
            verification,
            changed: newest.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
            none: undefined,
          };
          const isRight = step === 'newest' && newest !== '';
          if (step === 'ask') {
            // Five an hour for one address.
            const nowMs = t.clock.nowMs();
            const mayAsk = askedAtMs.filter((ms) => ms > nowMs - 60 * 60_000).length < 5;
            const { status } = await post('/auth/password/reset', { email });
            expect(status).toBe(mayAsk ? 200 : 429);
            if (mayAsk) {
              askedAtMs.push(nowMs);
              older.push(newest);
              newest = await mailed(email, 'reset-password');
            }
          } else if (step === 'later') {
            t.clock.advance(15 * 60_000 + 1);
          } else {
            const { status } = await confirm(tokens[step], `a new one after ${before.slice(-20)}`);
            expect({ step, status }).toEqual({ step, status: isRight ? 200 : 400 });
          }
          const isChanged = (await hashOf(id)) !== before;
          expect({ step, isChanged }).toEqual({ step, isChanged: isRight });
          if (isRight || step === 'later') {
            older.push(newest);
            newest = '';
          }
        }
      };
      await fc.assert(
        fc.asyncProperty(fc.array(fc.constantFrom(...steps), { minLength: 3, maxLength: 12 }), walk),
        { numRuns: WALKS },
      );
      expect(await hashOf(other.id)).toBe(other.passwordHash);
    });
  });

  it('T8: a challenge opens one session, of twenty second steps at once, each with another code that is right', async () => {
    const user = await enrolled(t, {}, 8);
    const { challenge_token: challenge } = (await login(user.email, PASSWORD)).body as Record<string, string>;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        post('/auth/login/two-factor', {
          challenge_token: challenge,
          two_factor_code: user.backupCodes[i % user.backupCodes.length],
        }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    t.clock.advance(LOCK_MS);
    const again = { challenge_token: challenge, two_factor_code: user.app.freshCode() };
    expect((await post('/auth/login/two-factor', again)).status).toBe(401);
    expect((await post('/auth/refresh', { refresh_token: challenge })).status).toBe(401);
    expect((await confirm(challenge)).status).toBe(400);
  });

  it('T11: a locked account is locked in every way in, also in those begun before', async () => {
    const user = await enrolled(t);
    const { email, token, app } = user;
    const { challenge_token: challenge } = (await login(email, PASSWORD)).body as Record<string, string>;
    await Promise.all(Array.from({ length: ATTEMPTS_MAX }, (_, i) => login(email, `wrong ${i}`)));
    const code = app.freshCode();
    const passwords = { current_password: PASSWORD, new_password: NEW_PASSWORD };
    const answers = [
      await login(email, PASSWORD),
      await login(email.toUpperCase(), PASSWORD, { two_factor_code: code }),
      await post('/auth/login/two-factor', { challenge_token: challenge, two_factor_code: code }),
      await post('/auth/2fa/verify', { code }, token),
      await post('/auth/2fa/disable', { password: PASSWORD, code }, token),
      await post('/auth/2fa/backup-codes', { password: PASSWORD, code }, token),
      await post('/auth/password/change', passwords, token),
      await post('/auth/me/email', { new_email: t.make.email(), current_password: PASSWORD }, token),
      await t.http.from().delete('/auth/me', { bearer: token, body: { password: PASSWORD } }),
    ];
    expect(answers.map(({ status }) => status).filter((status) => status < 400)).toEqual([]);
    expect(answers.map(({ body }) => (body as { code: string }).code)).toEqual([
      ...Array<string>(2).fill('invalid_login'),
      'invalid_two_factor_code',
      ...Array<string>(3).fill('wrong_two_factor_code'),
      ...Array<string>(3).fill('wrong_password'),
    ]);
    t.clock.advance(LOCK_MS);
    expect((await login(email, PASSWORD, { two_factor_code: app.freshCode() })).status).toBe(200);
  });

  it('T15: ids that a client sets beforehand are ignored, and two users of one client share nothing', async () => {
    const [first, second] = [await t.make.user(), await t.make.user()];
    const client = t.http.from();
    const chosen = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';
    const one = await client.post('/auth/login', { body: { email: first.email, password: PASSWORD } });
    const two = await client.post('/auth/login', {
      body: { email: second.email, password: PASSWORD, device_token: one.body.device_token as string },
      bearer: one.body.access_token as string,
      headers: { cookie: `session=${chosen}; sid=${chosen}`, 'x-session-id': chosen },
    });
    expect(two.status).toBe(200);
    expect(two.headers.get('set-cookie')).toBeNull();
    const sidOf = (token: string): string =>
      (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { sid: string }).sid;
    const sids = [one, two].map(({ body }) => sidOf((body as { access_token: string }).access_token));
    expect(new Set([...sids, chosen]).size).toBe(3);
    expect(two.body.device_token).not.toBe(one.body.device_token);
    for (const [answer, { id }] of [[one, first] as const, [two, second] as const])
      expect((await client.get('/auth/me', { bearer: answer.body.access_token as string })).body.id).toBe(id);
    for (const field of ['session_id', 'sid', 'id', 'user_id']) {
      const body = { email: first.email, password: PASSWORD, [field]: chosen };
      expect((await client.post('/auth/login', { body })).status).toBe(400);
    }
  });

  it('T16: answers about addresses that are known, unproven, suspended and unknown are equal, headers too', async () => {
    const addresses = async (): Promise<string[]> => [
      (await t.make.user()).email,
      (await t.make.user({ isVerified: false })).email,
      (await t.make.user({ isActive: false })).email,
      t.make.email(),
    ];
    const varying = /^(date|x-request-id|ratelimit)$/;
    /** An answer without what differs between any two: ids, times, and the address that was sent. */
    const faceOf = ({ status, headers, text }: Answer, email: string): unknown => ({
      status,
      headers: [...headers].filter(([name]) => !varying.test(name)),
      text: text
        .replaceAll(email, 'EMAIL')
        .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID')
        .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME'),
    });
    const routes: [string, (email: string) => object][] = [
      ['/auth/register', (email) => ({ email, password: NEW_PASSWORD })],
      ['/auth/login', (email) => ({ email, password: 'wrong' })],
      ['/auth/login', (email) => ({ email, password: '' })],
      ['/auth/login', (email) => ({ email, password: 'x'.repeat(100_000) })],
      ['/auth/password/reset', (email) => ({ email })],
      ['/auth/verify-email/resend', (email) => ({ email })],
      ['/auth/verify-email', (email) => ({ email, code: '000000' })],
    ];
    for (const [path, bodyFor] of routes) {
      const faces = [];
      for (const email of await addresses()) faces.push(faceOf(await post(path, bodyFor(email)), email));
      for (const face of faces) expect({ path, face }).toEqual({ path, face: faces[0] });
    }
  });

  it('T17: a log-in costs one hash, whoever it is for and whatever the password', async () => {
    const locked = t.make.email();
    await Promise.all(Array.from({ length: ATTEMPTS_MAX }, () => login(locked, 'whatever')));
    const emails = [
      (await t.make.user()).email,
      (await t.make.user({ isVerified: false })).email,
      (await t.make.user({ isActive: false })).email,
      t.make.email(),
      locked,
    ];
    const verify = t.apps.map((app) => jest.spyOn(app.get(Passwords), 'verify'));
    for (const password of ['wrong', '', 'x'.repeat(128)]) {
      for (const email of emails) {
        for (const spy of verify) spy.mockClear();
        const answer = await login(email, password);
        expect({
          email,
          password,
          status: answer.status,
          hashes: verify.flatMap(({ mock }) => mock.calls).length,
        }).toEqual({
          email,
          password,
          status: 401,
          hashes: 1,
        });
      }
    }
    for (const spy of verify) spy.mockRestore();
  });

  it('T18: mailed links lead to PUBLIC_URL, whatever the request says the host is', async () => {
    const { email } = await t.make.user();
    const unproven = t.make.email();
    const tricks = {
      host: 'evil.test',
      'x-forwarded-host': 'evil.test',
      'x-forwarded-proto': 'gopher',
      forwarded: 'host=evil.test;proto=gopher',
      'x-original-host': 'evil.test',
    };
    /** `fetch` sets the host itself. */
    const send = (path: string, body: object): Promise<number> =>
      new Promise((resolve, reject) => {
        const text = JSON.stringify(body);
        const headers = { ...tricks, 'content-type': 'application/json', 'content-length': text.length };
        request(`${t.url}/api/v1${path}`, { method: 'POST', headers }, (response) => {
          response.resume().on('end', () => {
            resolve(response.statusCode ?? 0);
          });
        })
          .on('error', reject)
          .end(text);
      });
    expect(await send('/auth/register', { email: unproven, password: NEW_PASSWORD })).toBe(200);
    expect(await send('/auth/verify-email/resend', { email: unproven })).toBe(200);
    expect(await send('/auth/password/reset', { email })).toBe(200);
    const texts = [...(await t.mails(unproven)), ...(await t.mails(email))].map(({ text }) => text);
    expect(texts.length).toBeGreaterThanOrEqual(2);
    for (const text of texts) {
      expect(text).toContain(`${t.env.PUBLIC_URL}/`);
      expect(text).not.toMatch(/evil\.test|gopher/);
    }
  });

  it('T20: two spellings of one address make one account, in forty pairs', async () => {
    const pairs = spellings.map((spell, i) => {
      const name = `kate-fish2-ivy-${i}`;
      return [`${name}@example.com`, spell(name)] as const;
    });
    expect(new Set(spellings.map((spell) => spell('kate-fish2-ivy'))).size).toBe(40);
    for (const [canonical, spelled] of pairs) {
      await t.make.user({ email: canonical });
      const { status } = await post('/auth/register', { email: spelled, password: NEW_PASSWORD });
      const found = await t.db.countBy(User, { email: canonical });
      expect({ spelled, status, found }).toEqual({ spelled, status: 200, found: 1 });
    }
    const [row] = await t.db.query<{ count: string }[]>(
      `SELECT count(*) FROM users WHERE email LIKE '%ivy-%' OR email !~ '^[!-~]+$'`,
    );
    expect(Number(row?.count)).toBe(pairs.length);
  });

  it('T23: a password counts to its last character and byte, and one that is too long is refused, never cut', async () => {
    const { email, token } = await t.make.user();
    const long = '\u{1F512}'.repeat(127);
    const change = (current: string, next: string): Promise<Answer> =>
      post('/auth/password/change', { current_password: current, new_password: next }, token);
    expect((await change(PASSWORD, `${long}ab`)).status).toBe(400);
    expect((await change(PASSWORD, `${long}a`)).status).toBe(200);
    for (const wrong of [`${long}b`, long, `${long}ab`, `${long}A`, `${long}a `])
      expect((await login(email, wrong)).status).toBe(401);
    expect((await login(email, `${long}a`)).status).toBe(200);

    const beginning = '\u{1F512}'.repeat(18);
    const legacy = await t.make.user({ passwordHash: await bcrypt.hash(`${beginning}X`, 4) });
    expect((await login(legacy.email, `${beginning}Y`)).status).toBe(401);
  });

  it('T24: no route finds anybody by a token that is missing, null, empty, a list or an object', async () => {
    const user = await enrolled(t);
    await post('/auth/password/reset', { email: user.email });
    await t.settled();
    const before = await hashOf(user.id);
    const routes: [string, string, object][] = [
      ['/auth/verify-email', 'token', {}],
      ['/auth/verify-email/not-me', 'token', {}],
      ['/auth/password/reset/confirm', 'token', { new_password: NEW_PASSWORD }],
      ['/auth/me/email/confirm', 'token', {}],
      ['/auth/me/email/undo', 'token', {}],
      ['/auth/2fa/reset/stop', 'token', {}],
      ['/auth/refresh', 'refresh_token', {}],
      ['/auth/login/two-factor', 'challenge_token', { two_factor_code: user.app.code() }],
    ];
    for (const [path, field, rest] of routes) {
      for (const value of [undefined, null, '', [], {}, [''], 0, true]) {
        const { status } = await post(path, { ...rest, [field]: value });
        // An empty text is a token that is wrong.
        const isRefused = status === 400 || (value === '' && status === 401);
        expect({ path, value, isRefused }).toEqual({ path, value, isRefused: true });
      }
    }
    expect(await hashOf(user.id)).toBe(before);
  });
});

const shift = (text: string, from: string, to: number): string =>
  [...text].map((c) => (c === from ? String.fromCodePoint(to) : c)).join('');
const at = (name: string): string => `${name}@example.com`;

/** Forty other spellings of `<name>@example.com`; the name has every letter that they need. */
const spellings: ((name: string) => string)[] = [
  (name) => at(name.toUpperCase()),
  (name) => at(name).toUpperCase(),
  (name) => `${name}@EXAMPLE.com`,
  (name) => `${name}@Example.Com`,
  (name) => ` ${at(name)}`,
  (name) => `${at(name)} `,
  (name) => `\t${at(name)}\n`,
  (name) => `\u00a0${at(name)}`,
  (name) => `\u3000${at(name)}\u3000`,
  (name) => `${name}\uff20example.com`,
  (name) => `${name}\ufe6bexample.com`,
  (name) => `${name}@example\u3002com`,
  (name) => `${name}@example\uff0ecom`,
  (name) => `${name}@example\uff61com`,
  (name) => `${name}@\uff45xample.com`,
  (name) => `${name}@ex\u{1D41A}mple.com`,
  (name) => `${name}@exam\u24dfle.com`,
  (name) => `${name}@example.\u2102om`,
  (name) => at(shift(name, 'k', 0x212a)),
  (name) => at(shift(name, 'k', 0xff4b)),
  (name) => at(shift(name, 'k', 0xff2b)),
  (name) => at(shift(name, 'k', 0x24da)),
  (name) => at(shift(name, 'a', 0xff41)),
  (name) => at(shift(name, 'a', 0x24b6)),
  (name) => at(shift(name, 'a', 0x1d400)),
  (name) => at(shift(name, 'a', 0x1d552)),
  (name) => at(shift(name, 't', 0x1d42d)),
  (name) => at(shift(name, 'e', 0x212f)),
  (name) => at(shift(name, 'e', 0x2147)),
  (name) => at(shift(name, 'e', 0x24ba)),
  (name) => at(shift(name, 's', 0x017f)),
  (name) => at(shift(name, 'h', 0x210e)),
  (name) => at(shift(name, 'i', 0x2170)),
  (name) => at(shift(name, 'i', 0x2148)),
  (name) => at(shift(name, 'v', 0x2164)),
  (name) => at(shift(name, '2', 0x00b2)),
  (name) => at(shift(name, '2', 0xff12)),
  (name) => at(shift(name, '-', 0xff0d)),
  (name) => at(shift(name, '-', 0xfe63)),
  (name) => at(name.replace('fi', '\ufb01')),
];
