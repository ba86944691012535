import { generateKeyPairSync } from 'node:crypto';
import { ConfigurationError, type Env, parseEnv } from './env';
import { isWeakSecret } from './production-rules';

const STRONG = {
  JWT_SECRET_KEY: 'mNw3jR8vXq2LcZ5tYb7KpGf4HsD9aVeU6iOx1BoT0lCr',
  SECRET_KEY: 'Zx8cVb2nMq5wErT7yUi3oPaS6dFgH1jKlQ4zXcVvB9nM',
};
const PRODUCTION = {
  ...STRONG,
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://cortex@db/cortex',
  PUBLIC_URL: 'https://api.example.com/',
  SMTP_URL: 'smtp://mail.example.com',
  MAIL_FROM: 'Example <no-reply@example.com>',
};

const parse = (raw: Record<string, string>): Env => parseEnv(raw, () => STRONG);
const faultsOf = (raw: Record<string, string>): readonly string[] => {
  try {
    parse(raw);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
  }
  return [];
};

describe('settings', () => {
  it('all have a default in development', () => {
    expect(parse({})).toMatchObject({
      NODE_ENV: 'development',
      PORT: 8000,
      PUBLIC_URL: 'http://127.0.0.1:8000',
      DATABASE_URL: undefined,
      DOCS_ENABLED: true,
      SIGNUP_ENUMERATION_SAFE: false,
    });
  });

  it('are frozen', () => {
    expect(Object.isFrozen(parse({}))).toBe(true);
  });

  it('name everything that production lacks, at once', () => {
    const faults = faultsOf({ NODE_ENV: 'production' }).join('\n');
    for (const name of [
      'DATABASE_URL',
      'JWT_SECRET_KEY or JWT_SIGNING_KEYS',
      'SECRET_KEY',
      'PUBLIC_URL',
      'SMTP_URL',
      'MAIL_FROM',
    ])
      expect(faults).toContain(name);
  });

  it('need no JWT_SECRET_KEY in production where JWT_SIGNING_KEYS sign, and make no secret for it', () => {
    const others = { ...PRODUCTION, JWT_SECRET_KEY: '' };
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const makeSecrets = jest.fn(() => STRONG);

    const env = parseEnv({ ...others, JWT_SIGNING_KEYS: pem }, makeSecrets);

    expect(env.JWT_SIGNING_KEYS).toHaveLength(1);
    expect(makeSecrets).not.toHaveBeenCalled();
    expect(faultsOf(others)).toEqual(['JWT_SECRET_KEY or JWT_SIGNING_KEYS is required in production.']);
  });

  it('are complete with what production asks for', () => {
    expect(parse(PRODUCTION)).toMatchObject({
      isProduction: true,
      PUBLIC_URL: 'https://api.example.com',
      DOCS_ENABLED: false,
      SIGNUP_ENUMERATION_SAFE: true,
    });
  });

  it.each<[string, Record<string, string>, string]>([
    ['a sample secret', { JWT_SECRET_KEY: 'your-secret-key-here' }, 'JWT_SECRET_KEY'],
    ['a long sample secret', { SECRET_KEY: 'your-secret-key-here-your-secret-key-here' }, 'SECRET_KEY'],
    ['two equal secrets', { SECRET_KEY: STRONG.JWT_SECRET_KEY }, 'must differ'],
    ['http in PUBLIC_URL', { PUBLIC_URL: 'http://api.example.com' }, 'PUBLIC_URL'],
    ['any origin', { ALLOWED_ORIGINS: '*' }, 'ALLOWED_ORIGINS'],
  ])('refuse %s in production, without printing it', (_what, fields, named) => {
    const faults = faultsOf({ ...PRODUCTION, ...fields });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(named);
    for (const value of Object.values(fields)) if (value !== '*') expect(faults[0]).not.toContain(value);
  });

  it.each([
    ['PORT', '65536'],
    ['PORT', '8000.5'],
    ['PUBLIC_URL', 'ftp://x'],
    ['SERVICE_NAME', 'Acme: the API'],
    ['TRUST_PROXY', 'everyone'],
    ['TRUST_PROXY', 'true'],
    ['ALLOWED_ORIGINS', '["https://app.example.com/path"]'],
    ['ALLOWED_ORIGINS', '[broken'],
    ['LOG_LEVEL', 'loud'],
    ['ARGON2_MEMORY_KIB', '1024'],
    ['REQUIRE_EMAIL_VERIFICATION', 'yes'],
    ['EXTRA_PERMISSIONS', 'Bad Name'],
    ['SMTP_URL', 'http://x'],
    ['MAIL_FROM', 'nobody'],
    ['DATABASE_URL', 'mysql://x/y'],
  ])('refuse %s=%s, naming it and not its value', (name, value) => {
    const faults = faultsOf({ [name]: value });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(new RegExp(`^${name} `));
    expect(faults[0]).not.toContain(value);
  });

  it.each<[string, Env['TRUST_PROXY']]>([
    ['2', 2],
    ['loopback', ['loopback']],
    ['10.0.0.0/8, fd00::/8', ['10.0.0.0/8', 'fd00::/8']],
    ['false', false],
  ])('read TRUST_PROXY=%s', (text, value) => {
    expect(parse({ TRUST_PROXY: text }).TRUST_PROXY).toEqual(value);
  });

  it.each([
    '["https://a.example.com","https://b.example.com"]',
    'https://a.example.com, https://b.example.com',
  ])('read ALLOWED_ORIGINS=%s', (text) => {
    expect(parse({ ALLOWED_ORIGINS: text }).ALLOWED_ORIGINS).toEqual([
      'https://a.example.com',
      'https://b.example.com',
    ]);
  });

  it('take POSTGRES_URL for DATABASE_URL, which wins, and an empty variable for an absent one', () => {
    expect(parse({ POSTGRES_URL: 'postgres://b/b' }).DATABASE_URL).toBe('postgres://b/b');
    expect(parse({ POSTGRES_URL: 'postgres://b/b', DATABASE_URL: 'postgres://a/a' }).DATABASE_URL).toBe(
      'postgres://a/a',
    );
    expect(parse({ DATABASE_URL: '', PORT: '' })).toMatchObject({ DATABASE_URL: undefined, PORT: 8000 });
  });

  it('name a secret file that cannot be read', () => {
    expect(faultsOf({ JWT_SECRET_KEY_FILE: '/nowhere/at/all' })).toEqual([
      'JWT_SECRET_KEY_FILE names a file that cannot be read.',
    ]);
  });
});

describe('isWeakSecret', () => {
  it.each([
    '',
    'short',
    'x'.repeat(64),
    'password'.repeat(8),
    'change-me-change-me-change-me-change-me',
    'your-secret-key-here',
  ])('refuses %p', (secret) => {
    expect(isWeakSecret(secret)).toBe(true);
  });

  it('takes random secrets, also such as hold a common word by chance', () => {
    expect(isWeakSecret(STRONG.SECRET_KEY)).toBe(false);
    expect(isWeakSecret('9f86d081884c7d659a2feaa0c55ad015')).toBe(false);
    expect(isWeakSecret(`test${STRONG.SECRET_KEY}`)).toBe(false);
  });
});
