import * as bcrypt from 'bcrypt';
import { User } from '../../src/users/user.entity';
import { PASSWORD } from '../support/factory';
import { startTestApp, type TestApp } from '../support/test-app';

describe('accounts', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  describe('POST /auth/register', () => {
    it('makes an account with the profile that was given', async () => {
      const email = t.make.email();
      const body = {
        email,
        password: 'a long enough one',
        confirm_password: 'a long enough one',
        company: 'Engines',
        last_name: '',
      };
      const { status, body: user } = await t.http.from().post('/auth/register', { body });
      expect(status).toBe(200);
      expect(user).toMatchObject({
        email,
        company: 'Engines',
        first_name: null,
        last_name: null,
        is_verified: false,
        two_factor_enabled: false,
        subscription_tier: 'free',
        last_login: null,
      });
    });

    it('stores argon2id, never the password', async () => {
      const email = t.make.email();
      await t.http.from().post('/auth/register', { body: { email, password: 'a long enough one' } });
      const [row] = await t.db.query<{ password_hash: string }[]>(
        'SELECT password_hash FROM users WHERE email = $1',
        [email],
      );
      expect(row?.password_hash).toMatch(/^\$argon2id\$v=19\$/);
    });

    it('refuses a taken address', async () => {
      const { email } = await t.make.user();
      const answer = await t.http
        .from()
        .post('/auth/register', { body: { email, password: 'a long enough one' } });
      expect(answer.status).toBe(400);
      expect(answer.body.code).toBe('email_taken');
    });

    it('T4, T20: makes one account of fifty sign-ups at once, in eight spellings', async () => {
      const spellings = (name: string): string[] => [
        `${name}@example.com`,
        `${name.toUpperCase()}@example.com`,
        `${name}@EXAMPLE.com`,
        ` ${name}@example.com `,
        `${name.replace('k', '\u212a')}@example.com`,
        `${name.replace('a', '\uff41')}@example.com`,
        `${name}@\uff45xample.com`,
        `${name}@example\u3002com`,
      ];
      const name = `kate-${Date.now()}`;
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          t.http.from().post('/auth/register', {
            body: { email: spellings(name)[i % 8], password: 'a long enough one' },
          }),
        ),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(answers.filter(({ body }) => body.code === 'email_taken')).toHaveLength(49);
      expect(await t.db.countBy(User, { email: `${name}@example.com` })).toBe(1);
      expect(await t.mails(`${name}@example.com`)).toHaveLength(1);
    });

    it.each([
      ['a short password', { password: 'seven77' }, 'password'],
      ['a password over 128 characters', { password: 'x'.repeat(129) }, 'password'],
      ['another confirmation', { confirm_password: 'something else' }, 'confirm_password'],
      ['a list of addresses', { email: ['a@example.com', 'b@example.com'] }, 'email'],
      ['two addresses', { email: 'a@example.com,b@example.com' }, 'email'],
      ['a second @', { email: 'a@b@example.com' }, 'email'],
      ['a line break in the address', { email: 'a@example.com\r\nBcc: b@example.com' }, 'email'],
      ['a quoted local part', { email: '"a b"@example.com' }, 'email'],
      ['a non-ASCII local part', { email: 'ßharp@example.com' }, 'email'],
      ['an IP address as domain', { email: 'a@[127.0.0.1]' }, 'email'],
      ['a tier', { subscription_tier: 'enterprise' }, 'subscription_tier'],
      ['an id', { id: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d' }, 'id'],
      ['a verified flag', { is_verified: true }, 'is_verified'],
      ['a role', { role: 'admin' }, 'role'],
    ])('refuses %s, naming the field', async (_what, fields, field) => {
      const body = { email: t.make.email(), password: 'a long enough one', ...fields };
      const answer = await t.http.from().post('/auth/register', { body });
      expect(answer.status).toBe(400);
      expect(answer.body.code).toBe('validation_failed');
      expect(answer.body.errors.map((error: { field: string }) => error.field)).toContain(field);
    });

    it('counts a password in code points, and takes any of them', async () => {
      for (const password of ['\u{1F600}'.repeat(8), ' '.repeat(8), 'x'.repeat(128)]) {
        const answer = await t.http
          .from()
          .post('/auth/register', { body: { email: t.make.email(), password } });
        expect(answer.status).toBe(200);
      }
    });
  });

  describe('with SIGNUP_ENUMERATION_SAFE', () => {
    let safe: TestApp;
    beforeAll(async () => {
      safe = await startTestApp({ settings: { SIGNUP_ENUMERATION_SAFE: 'true' } });
    });
    afterAll(() => safe.close());

    it('T16: answers a taken address like a new one, and tells its owner', async () => {
      const { email, id } = await safe.make.user();
      const fields = { password: 'a long enough one', first_name: 'Eve', company: 'Spies' };
      const taken = await safe.http.from().post('/auth/register', { body: { email, ...fields } });
      const fresh = await safe.http
        .from()
        .post('/auth/register', { body: { email: safe.make.email(), ...fields } });

      expect(taken.status).toBe(fresh.status);
      expect(Object.keys(taken.body as object)).toEqual(Object.keys(fresh.body as object));
      expect(taken.body).toMatchObject({
        first_name: 'Eve',
        company: 'Spies',
        is_verified: false,
        last_login: null,
      });
      expect(taken.body.id).not.toBe(id);
      expect((await safe.mails(email)).map(({ subject }) => subject)).toEqual([
        'Somebody tried to sign up with your address',
      ]);
    });

    it('does not let the second password in', async () => {
      const { email } = await safe.make.user();
      await safe.http.from().post('/auth/register', { body: { email, password: 'an attacker chose it' } });
      const answer = await safe.http
        .from()
        .post('/auth/login', { body: { email, password: 'an attacker chose it' } });
      expect(answer.status).toBe(401);
    });
  });

  describe('POST /auth/login', () => {
    it('gives an access token that opens the account', async () => {
      const { email, id } = await t.make.user();
      const answer = await t.http
        .from()
        .post('/auth/login', { body: { email: email.toUpperCase(), password: PASSWORD } });
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ token_type: 'bearer', expires_in: 1800, user: { id, email } });
      expect(answer.body.user.last_login).not.toBeNull();
      const me = await t.http.get('/auth/me', { bearer: answer.body.access_token });
      expect(me.body.id).toBe(id);
    });

    it('T16: answers the same for a wrong password, an unknown address and a suspended account', async () => {
      const known = await t.make.user();
      const suspended = await t.make.user({ isActive: false });
      const attempts = [
        { email: known.email, password: 'wrong password' },
        { email: t.make.email(), password: PASSWORD },
        { email: suspended.email, password: PASSWORD },
        { email: known.email, password: '' },
        { email: known.email, password: `${PASSWORD} ` },
        { email: known.email, password: PASSWORD.toUpperCase() },
      ];
      const answers = await Promise.all(attempts.map((body) => t.http.from().post('/auth/login', { body })));
      const [first] = answers.map(({ body }) => ({ ...body, request_id: '' }));
      for (const answer of answers) {
        expect(answer.status).toBe(401);
        expect({ ...answer.body, request_id: '' }).toEqual(first);
      }
      expect(first.code).toBe('invalid_login');
    });

    it.each([
      ['composed', 'caf\u00e9 caf\u00e9', 'cafe\u0301 cafe\u0301'],
      ['decomposed', 'cafe\u0301 cafe\u0301', 'caf\u00e9 caf\u00e9'],
    ])('takes a password that was chosen %s in its other form', async (_form, chosen, typed) => {
      const email = t.make.email();
      await t.http.from().post('/auth/register', { body: { email, password: chosen } });
      expect((await t.http.from().post('/auth/login', { body: { email, password: typed } })).status).toBe(
        200,
      );
    });

    it('takes a legacy bcrypt hash and replaces it', async () => {
      const user = await t.make.user({ passwordHash: await bcrypt.hash('from the old days', 4) });
      const body = { email: user.email, password: 'from the old days' };
      expect((await t.http.from().post('/auth/login', { body })).status).toBe(200);
      const [row] = await t.db.query<{ password_hash: string }[]>(
        'SELECT password_hash FROM users WHERE id = $1',
        [user.id],
      );
      expect(row?.password_hash).toMatch(/^\$argon2id\$/);
      expect((await t.http.from().post('/auth/login', { body })).status).toBe(200);
    });

    it('T23: does not open a bcrypt account with what only shares its first 72 bytes', async () => {
      const beginning = 'a'.repeat(72);
      const user = await t.make.user({ passwordHash: await bcrypt.hash(`${beginning}X`, 4) });
      const answer = await t.http
        .from()
        .post('/auth/login', { body: { email: user.email, password: `${beginning}Y` } });
      expect(answer.status).toBe(401);
    });

    it.each([
      ['', undefined],
      [
        ', of a password whose hash is replaced meanwhile',
        '$2b$04$EXUbNuacj6d3JHpXhpnYa.EsV5wQgefj9tXQAeH8lJY2HeubW7rJK',
      ],
    ])('T12: lets twenty right log-ins in at once%s', async (_of, passwordHash) => {
      const { email } = await t.make.user(passwordHash ? { passwordHash } : {});
      const answers = await Promise.all(
        Array.from({ length: 20 }, () =>
          t.http.from().post('/auth/login', { body: { email, password: PASSWORD } }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
      expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(20);
    });
  });

  describe('GET and PUT /auth/me', () => {
    it('changes the named fields only', async () => {
      const user = await t.make.user({ firstName: 'Ada', lastName: 'Byron', company: 'Engines' });
      const answer = await t.http.put('/auth/me', {
        bearer: user.token,
        body: { last_name: 'Lovelace', company: null },
      });
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ first_name: 'Ada', last_name: 'Lovelace', company: null });
    });

    it.each([
      'email',
      'id',
      'user_id',
      'is_verified',
      'subscription_tier',
      'role',
      'password_hash',
      'created_at',
    ])('refuses to set %s', async (field) => {
      const user = await t.make.user();
      const answer = await t.http.put('/auth/me', { bearer: user.token, body: { [field]: 'x' } });
      expect(answer.status).toBe(400);
      expect(answer.body.errors[0].field).toBe(field);
    });

    it('T14: refuses a suspended user at once, with the token he has', async () => {
      const user = await t.make.user();
      await t.db.update(User, { id: user.id }, { isActive: false });
      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(401);
    });

    it('refuses a token whose session is gone', async () => {
      const user = await t.make.user();
      await t.db.query('DELETE FROM sessions WHERE id = $1', [user.sessionId]);
      expect((await t.http.get('/auth/me', { bearer: user.token })).status).toBe(401);
    });
  });
});
