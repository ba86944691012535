import { OneTimeTokens } from '../../src/auth/one-time-tokens';
import { ATTEMPTS_MAX, LOCK_MS } from '../../src/limits/attempts';
import { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import type { Answer } from '../support/http';
import { startTestApp, type TestApp } from '../support/test-app';

const HOUR_MS = 60 * 60 * 1_000;
const DAY_MS = 24 * HOUR_MS;

describe('proving an e-mail address', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ settings: { SIGNUP_ENUMERATION_SAFE: 'true' } });
  });
  afterEach(() => {
    t.clock.reset();
  });
  afterAll(() => t.close());

  const register = async (email = t.make.email()): Promise<string> => {
    const answer = await t.http.from().post('/auth/register', { body: { email, password: PASSWORD } });
    expect(answer.status).toBe(200);
    return email;
  };
  const mailText = async (address: string): Promise<string> => (await t.mails(address))[0]?.text ?? '';
  const linkToken = async (address: string): Promise<string> =>
    /#token=([\w-]+)/.exec(await mailText(address))?.[1] ?? '';
  const mailedCode = async (address: string): Promise<string> =>
    /: (\d{6})$/m.exec(await mailText(address))?.[1] ?? '';
  const isVerified = async (email: string): Promise<boolean> =>
    (await t.db.findOneByOrFail(User, { email })).isVerified;
  const byCode = (email: string, code: string): Promise<Answer> =>
    t.http.from().post('/auth/verify-email', { body: { email, code } });
  const byToken = (token: string): Promise<Answer> =>
    t.http.from().post('/auth/verify-email', { body: { token } });
  const resend = async (email: string): Promise<Answer> => {
    const answer = await t.http.from().post('/auth/verify-email/resend', { body: { email } });
    await t.settled();
    return answer;
  };
  /** Codes that are not this one. */
  const wrongCodes = (code: string, count: number): string[] =>
    Array.from({ length: count }, (_, i) => String((Number(code) + i + 1) % 1_000_000).padStart(6, '0'));

  describe('by the link', () => {
    it('proves the address with the mailed token, from the query', async () => {
      const email = await register();
      const answer = await t.http.post(`/auth/verify-email?token=${await linkToken(email)}`);
      expect(answer.body).toEqual({ message: 'Email verified successfully' });
      expect(await isVerified(email)).toBe(true);
    });

    it('proves the address with the mailed token, from the body', async () => {
      const email = await register();
      expect(
        (await t.http.post('/auth/verify-email', { body: { token: await linkToken(email) } })).status,
      ).toBe(200);
      expect(await isVerified(email)).toBe(true);
    });

    it('T4: works once, of fifty tries at once', async () => {
      const token = await linkToken(await register());
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => t.http.from().post('/auth/verify-email', { body: { token } })),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(answers.filter(({ body }) => body.code === 'invalid_verification_token')).toHaveLength(49);
    });

    it('dies after 24 hours', async () => {
      const email = await register();
      const token = await linkToken(email);
      t.clock.advance(DAY_MS + 1_000);
      expect((await t.http.from().post('/auth/verify-email', { body: { token } })).status).toBe(400);
      expect(await isVerified(email)).toBe(false);
    });

    it('T24: refuses a token with any bit changed, and no token at all', async () => {
      const token = await linkToken(await register());
      const bytes = Buffer.from(token, 'base64url');
      const changed = [...bytes.keys()].map((i) => {
        const copy = Buffer.from(bytes);
        copy[i] = (copy[i] ?? 0) ^ 1;
        return { token: copy.toString('base64url') };
      });
      const bodies = [
        ...changed,
        { token: '' },
        { token: 'x' },
        { token: token.slice(0, -4) },
        { token: `${token}AAAA` },
      ];
      for (const body of bodies) {
        const answer = await t.http.from().post('/auth/verify-email', { body });
        expect(answer.status).toBe(400);
      }
      for (const body of [{}, { code: '123456' }, { email: 'user@example.com' }]) {
        expect((await t.http.post('/auth/verify-email', { body })).body).toMatchObject({
          code: 'validation_failed',
          errors: [{ field: 'token', message: 'is required, or email and code' }],
        });
      }
      expect((await t.http.post('/auth/verify-email', { body: { token } })).status).toBe(200);
    });

    it('refuses a token given twice in the query', async () => {
      const token = await linkToken(await register());
      expect((await t.http.post(`/auth/verify-email?token=${token}&token=${token}`)).status).toBe(400);
    });

    it('is not used up by opening the link', async () => {
      const email = await register();
      const page = await t.http.get('/verify-email');
      expect(page.status).toBe(200);
      expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
      expect((await t.http.get(`/auth/verify-email?token=${await linkToken(email)}`)).status).toBe(404);
      expect(await isVerified(email)).toBe(false);
    });

    it('T18: links to PUBLIC_URL, whatever the request says the host is', async () => {
      const email = t.make.email();
      await t.http.from().post('/auth/register', {
        body: { email, password: 'a long enough one' },
        headers: {
          'x-forwarded-host': 'evil.test',
          'x-forwarded-proto': 'gopher',
          forwarded: 'host=evil.test',
        },
      });
      const text = (await t.mails(email))[0]?.text;
      expect(text).toContain(`${t.env.PUBLIC_URL}/verify-email#token=`);
      expect(text).not.toContain('evil.test');
    });
  });

  describe('by the code', () => {
    it('works, in any spelling of the address, and gives its guess back', async () => {
      const email = await register();
      expect((await byCode(email.toUpperCase(), await mailedCode(email))).body).toEqual({
        message: 'Email verified successfully',
      });
      expect(await isVerified(email)).toBe(true);
      for (let i = 0; i < ATTEMPTS_MAX; i++) await byCode(email, '000000');
      expect((await resend(email)).status).toBe(200);
    });

    it('works once, of fifty tries at once, and not beside the link (T4)', async () => {
      const email = await register();
      const [code, token] = [await mailedCode(email), await linkToken(email)];
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) => (i % 5 ? byToken(token) : byCode(email, code))),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(answers.filter(({ body }) => body.code === 'invalid_verification_token')).toHaveLength(49);
    });

    it('is guessed at most as often as a password, of a hundred tries at once; then the link still works (T13)', async () => {
      const email = await register();
      const [code, token] = [await mailedCode(email), await linkToken(email)];
      const compared = t.apps.map((app) =>
        jest.spyOn(app.get(OneTimeTokens, { strict: false }), 'redeemCode'),
      );
      const wrong = await Promise.all(wrongCodes(code, 100).map((guess) => byCode(email, guess)));
      expect(compared.flatMap(({ mock }) => mock.calls)).toHaveLength(ATTEMPTS_MAX);
      for (const spy of compared) spy.mockRestore();

      const right = await byCode(email, code);
      expect({ ...right.body, request_id: '' }).toEqual({ ...wrong[0]?.body, request_id: '' });
      expect(right.status).toBe(400);
      const login = { email, password: PASSWORD };
      expect((await t.http.from().post('/auth/login', { body: login })).status).toBe(401);
      expect((await byToken(token)).status).toBe(200);
      t.clock.advance(LOCK_MS);
      expect((await t.http.from().post('/auth/login', { body: login })).status).toBe(200);
    });

    it("takes no other account's code, none of a proven address and none that is over", async () => {
      const [email, other] = [await register(), await register()];
      const [code, otherCode] = [await mailedCode(email), await mailedCode(other)];
      expect((await byCode(email, otherCode)).status).toBe(code === otherCode ? 200 : 400);
      expect((await byCode(t.make.email(), code)).body.code).toBe('invalid_verification_token');
      t.clock.advance(DAY_MS + 1_000);
      expect((await byCode(email, code)).status).toBe(400);
      expect(await isVerified(other)).toBe(false);
    });

    it.each([
      ['a code of five digits', { code: '12345' }],
      ['a code of other digits', { code: '\u0661\u0662\u0663\u0664\u0665\u0666' }],
      ['a number', { code: 123456 }],
      ['no code', {}],
      ['an address list', { code: '123456', email: ['a@example.com'] }],
    ])('refuses %s', async (_what, fields) => {
      const body = { email: t.make.email(), ...fields };
      expect((await t.http.from().post('/auth/verify-email', { body })).status).toBe(400);
    });
  });

  describe('POST /auth/verify-email/resend', () => {
    it('ends the earlier link and code', async () => {
      const email = await register();
      const [token, code] = [await linkToken(email), await mailedCode(email)];
      await resend(email);
      expect(await t.mails(email)).toHaveLength(2);
      expect((await byToken(token)).status).toBe(400);
      const newCode = await mailedCode(email);
      expect((await byCode(email, code)).status).toBe(code === newCode ? 200 : 400);
      expect((await byCode(email, newCode)).status).toBe(200);
    });

    it('leaves one link that works, of twenty mails at once', async () => {
      const email = await register();
      const tokens = t.app.get(OneTimeTokens, { strict: false });
      const { id } = await t.db.findOneByOrFail(User, { email });
      const ids = await Promise.all(Array.from({ length: 20 }, () => tokens.issue(id, 'verify_email')));
      const mailed = await Promise.all(ids.map((tokenId) => tokens.mail(tokenId, 'verify_email')));
      const live = mailed.filter((one) => one !== null);
      expect(live).toHaveLength(1);
      expect((await byToken(live[0]?.token ?? '')).status).toBe(200);
    });

    it('T16: answers the same for addresses that wait, are proven, suspended or unknown, and mails only the first', async () => {
      const waiting = await register();
      // What is not mailed yet would give way to what is asked for below.
      await t.settled();
      const [proven, suspended] = [
        await t.make.user(),
        await t.make.user({ isVerified: false, isActive: false }),
      ];
      const unknown = t.make.email();
      const answers: Answer[] = [];
      for (const email of [waiting, proven.email, suspended.email, unknown])
        answers.push(await resend(email));
      const shown = ({ status, text, headers }: Answer): unknown => {
        const kept = [...headers].filter(([name]) => !['date', 'x-request-id'].includes(name));
        return { status, text, kept };
      };
      for (const answer of answers) expect(shown(answer)).toEqual(shown(answers[0] as Answer));
      expect(await t.mails(waiting)).toHaveLength(2);
      for (const email of [proven.email, suspended.email, unknown]) expect(await t.mails(email)).toEqual([]);
    });

    it('is slowed down to five an hour per address of the account, however it is spelled', async () => {
      const email = await register();
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, i) => resend(i % 2 ? email : email.toUpperCase())),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
      expect(answers.filter(({ status }) => status === 429)).toHaveLength(5);
    });
  });

  it('tells an owner once an hour that somebody signs up with his address; the answers stay the same', async () => {
    const { email } = await t.make.user();
    for (let i = 0; i < 3; i++) await register(email);
    expect(await t.mails(email)).toHaveLength(1);
    t.clock.advance(HOUR_MS);
    for (let i = 0; i < 3; i++) await register(email);
    expect(await t.mails(email)).toHaveLength(2);
  });
});
