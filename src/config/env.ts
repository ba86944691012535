import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { parseEnv as parseDotEnv } from 'node:util';
import { z } from 'zod';
import { developmentSecrets } from './development-secrets';

const flag = (fallback: boolean) =>
  z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .default(fallback);

const integer = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d+$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be a whole number from ${min} to ${max}`)
    .default(fallback);

const urlOf = (...schemes: string[]) =>
  z.string().refine(
    (text) => {
      return URL.canParse(text) && schemes.includes(new URL(text).protocol.slice(0, -1));
    },
    `must be a URL beginning with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
  );

const commaList = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);

const origins = z
  .string()
  .transform((text, context): string[] => {
    if (!text.trimStart().startsWith('[')) return commaList.parse(text);
    try {
      return z.array(z.string()).parse(JSON.parse(text));
    } catch {
      context.addIssue('must be a JSON array of origins or a comma list');
      return z.NEVER;
    }
  })
  .refine(
    (list) =>
      list.every((origin) => origin === '*' || (URL.canParse(origin) && new URL(origin).origin === origin)),
    'must hold origins such as https://app.example.com, without a path',
  );

const trustProxy = z.string().transform((text, context): number | string[] | false => {
  if (text === 'false') return false;
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const parts = commaList.parse(text);
  const known = (part: string): boolean => part === 'loopback' || isIP(part.split('/')[0] ?? '') > 0;
  if (parts.length > 0 && parts.every(known)) return parts;
  context.addIssue('must be a number of hops, "loopback", or a comma list of addresses and CIDR ranges');
  return z.NEVER;
});

const mailAddress = z
  .string()
  .regex(/^[^\r\n]*[^\s@<>]+@[^\s@<>]+>?$/, 'must be an address such as Example <no-reply@example.com>');

/**
 * Every setting: its rule, its default and what it does. The one place that reads the environment.
 * `.env.example` holds exactly these names and `docs/configuration.md` these descriptions; a test compares them.
 */
export const settings = z.object({
  NODE_ENV: z
    .enum(['development', 'test', 'production'], 'must be development, test or production')
    .default('development')
    .describe('`production` refuses made-up secrets, the embedded database and the `echo` provider.'),
  PORT: integer(0, 65_535, 8000).describe('TCP port to listen on; 0 takes a free one.'),
  HOST: z.string().default('127.0.0.1').describe('Address to listen on; `0.0.0.0` in a container.'),
  PUBLIC_URL: urlOf('https', 'http')
    .transform((text) => text.replace(/\/+$/, ''))
    .optional()
    .describe(
      'Where users reach the service; mailed links point here and nowhere else. Development: the address it listens on.',
    ),
  TRUST_PROXY: trustProxy
    .default(false)
    .describe(
      'Whose `X-Forwarded-*` headers are believed: a number of hops, `loopback`, or a comma list of CIDR ranges. Default: nobody.',
    ),
  ALLOWED_ORIGINS: origins
    .default([])
    .describe('Browser origins that may call the API (CORS): a JSON array or a comma list. Default: none.'),
  LOG_LEVEL: z
    .enum(
      ['fatal', 'error', 'warn', 'info', 'debug', 'silent'],
      'must be fatal, error, warn, info, debug or silent',
    )
    .default('info')
    .describe('Lowest level that is logged, as JSON lines on standard output.'),
  SHUTDOWN_GRACE_MS: integer(0, 60_000, 300).describe(
    'After SIGTERM, how long the service still accepts requests while `/health/ready` answers 503, in milliseconds.',
  ),
  DOCS_ENABLED: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .optional()
    .describe('Serve `/docs` and `/openapi.json`. Default: true, in production false.'),

  DATABASE_URL: urlOf('postgres', 'postgresql')
    .optional()
    .describe(
      'PostgreSQL 15 or later; TLS by `sslmode` and `sslrootcert` in the URL. Development without it: an embedded server in `DATA_DIR`.',
    ),
  POSTGRES_URL: urlOf('postgres', 'postgresql')
    .optional()
    .describe('Another name for `DATABASE_URL`, which wins.'),
  DATABASE_POOL_MAX: integer(2, 1000, 10).describe('Most connections this process opens to PostgreSQL.'),
  DATA_DIR: z
    .string()
    .default('.data')
    .describe('Folder of the embedded database and of the development secrets.'),

  JWT_SECRET_KEY: z
    .string()
    .optional()
    .describe('Signs access tokens (HS256); 32 bytes or more. Development: made once, kept in `DATA_DIR`.'),
  SECRET_KEY: z
    .string()
    .optional()
    .describe(
      'Everything else that is derived or encrypted; 32 bytes or more, not `JWT_SECRET_KEY`. Development: made once.',
    ),
  ACCESS_TOKEN_EXPIRE_MINUTES: integer(1, 1440, 30).describe('Life of an access token, in minutes.'),
  ARGON2_MEMORY_KIB: integer(19_456, 4_194_304, 19_456).describe(
    'argon2id memory per hash, in KiB; upward only.',
  ),
  ARGON2_TIME_COST: integer(2, 100, 2).describe('argon2id passes; upward only.'),
  REQUIRE_EMAIL_VERIFICATION: flag(false).describe('true: no API key before the e-mail address is verified.'),
  SIGNUP_ENUMERATION_SAFE: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .optional()
    .describe(
      'true: sign-up with a taken address answers like a new one. Default: false, in production true.',
    ),
  EXTRA_PERMISSIONS: commaList
    .refine(
      (names) => names.every((name) => /^[a-z][a-z0-9_.:-]{0,63}$/.test(name)),
      'must be names of lower-case letters, digits and _.:-',
    )
    .default([])
    .describe('Further permissions API keys may carry, for backends behind: a comma list.'),

  SMTP_URL: urlOf('smtp', 'smtps')
    .optional()
    .describe('Mail server. Development without it: mail stays in memory and is read at `/dev/mailbox`.'),
  MAIL_FROM: mailAddress.optional().describe('Sender of all mail, such as `Example <no-reply@example.com>`.'),

  GEMINI_API_KEY: z.string().optional().describe('Enables the provider `gemini` of `POST /generate`.'),
  OPENAI_API_KEY: z.string().optional().describe('Enables the provider `openai`.'),
  ANTHROPIC_API_KEY: z.string().optional().describe('Enables the provider `anthropic`.'),
  GEMINI_BASE_URL: urlOf('https', 'http')
    .optional()
    .describe('Another address for Gemini, with its version, such as `https://gateway.example.com/v1beta`.'),
  OPENAI_BASE_URL: urlOf('https', 'http')
    .optional()
    .describe(
      'Another address for OpenAI, or a server that speaks its chat completions, with its version (`.../v1`).',
    ),
  ANTHROPIC_BASE_URL: urlOf('https', 'http')
    .optional()
    .describe('Another address for Anthropic, with its version (`.../v1`).'),
  PROVIDER_TIMEOUT_SECONDS: integer(1, 300, 60).describe(
    'Longest wait for a provider, in seconds; then 504.',
  ),
});

type Settings = z.infer<typeof settings>;

/** The settings in force: parsed once, frozen, with every value resolved that development may leave out. */
export type Env = Readonly<
  Omit<
    Settings,
    | 'POSTGRES_URL'
    | 'JWT_SECRET_KEY'
    | 'SECRET_KEY'
    | 'PUBLIC_URL'
    | 'DOCS_ENABLED'
    | 'SIGNUP_ENUMERATION_SAFE'
  > & {
    JWT_SECRET_KEY: string;
    SECRET_KEY: string;
    PUBLIC_URL: string;
    DOCS_ENABLED: boolean;
    SIGNUP_ENUMERATION_SAFE: boolean;
    isProduction: boolean;
  }
>;

/** Injection token of {@link Env}. */
export const ENV = Symbol('ENV');

/** All faults of the settings at once, by name and rule; never a value, which may be a secret. */
export class ConfigurationError extends Error {
  constructor(readonly faults: readonly string[]) {
    super(
      [
        'The service cannot start with these settings:',
        ...faults.map((fault) => `  - ${fault}`),
        'Each is explained in docs/configuration.md.',
      ].join('\n'),
    );
    this.name = 'ConfigurationError';
  }
}

/**
 * Reads the settings from the environment, a `.env` file in the working directory (the environment wins) and
 * `NAME_FILE` variables; outside production it makes missing secrets once and keeps them in `DATA_DIR`.
 * @throws ConfigurationError naming everything that is missing or wrong.
 */
export function loadEnv(source: NodeJS.ProcessEnv = process.env): Env {
  const dotEnv = existsSync('.env') ? parseDotEnv(readFileSync('.env', 'utf8')) : {};
  return parseEnv({ ...dotEnv, ...source }, developmentSecrets);
}

/** What stands in for a secret that development leaves out. */
export type SecretMaker = (dataDir: string) => { JWT_SECRET_KEY: string; SECRET_KEY: string };

/**
 * Checks raw variables and resolves their defaults. An empty variable counts as absent.
 * @throws ConfigurationError naming everything that is missing or wrong.
 */
export function parseEnv(raw: Record<string, string | undefined>, makeSecrets: SecretMaker): Env {
  const faults: string[] = [];
  const given = readGiven(raw, faults);
  const parsed = settings.safeParse(given);
  if (!parsed.success) {
    faults.push(...parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}.`));
  }
  const isProduction = given['NODE_ENV'] === 'production';
  if (isProduction) faults.push(...productionFaults(given));
  if (faults.length > 0 || !parsed.success) throw new ConfigurationError(faults);

  const { POSTGRES_URL, ...values } = parsed.data;
  const made = values.JWT_SECRET_KEY && values.SECRET_KEY ? undefined : makeSecrets(values.DATA_DIR);
  return Object.freeze({
    ...values,
    DATABASE_URL: values.DATABASE_URL ?? POSTGRES_URL,
    JWT_SECRET_KEY: values.JWT_SECRET_KEY ?? made?.JWT_SECRET_KEY ?? '',
    SECRET_KEY: values.SECRET_KEY ?? made?.SECRET_KEY ?? '',
    PUBLIC_URL: values.PUBLIC_URL ?? `http://127.0.0.1:${values.PORT}`,
    DOCS_ENABLED: values.DOCS_ENABLED ?? !isProduction,
    SIGNUP_ENUMERATION_SAFE: values.SIGNUP_ENUMERATION_SAFE ?? isProduction,
    isProduction,
  });
}

/** The known variables that are set, `NAME_FILE` (a Docker or Kubernetes secret) standing in for `NAME`. */
function readGiven(raw: Record<string, string | undefined>, faults: string[]): Record<string, string> {
  const given: Record<string, string> = {};
  for (const name of Object.keys(settings.shape)) {
    const file = raw[`${name}_FILE`];
    let value = raw[name];
    if (!value && file) {
      try {
        value = readFileSync(file, 'utf8').trimEnd();
      } catch {
        faults.push(`${name}_FILE names a file that cannot be read.`);
        value = undefined;
      }
    }
    if (value) given[name] = value;
  }
  return given;
}

const requiredInProduction = [
  'DATABASE_URL',
  'JWT_SECRET_KEY',
  'SECRET_KEY',
  'PUBLIC_URL',
  'SMTP_URL',
  'MAIL_FROM',
];

function productionFaults(given: Record<string, string>): string[] {
  const faults = requiredInProduction
    .filter((name) => !given[name] && !(name === 'DATABASE_URL' && given['POSTGRES_URL']))
    .map((name) => `${name} is required in production.`);

  for (const name of ['JWT_SECRET_KEY', 'SECRET_KEY']) {
    const secret = given[name];
    if (secret && isWeakSecret(secret)) {
      faults.push(
        `${name} is too weak: use 32 random bytes or more, such as the output of "openssl rand -base64 48".`,
      );
    }
  }
  if (given['JWT_SECRET_KEY'] && given['JWT_SECRET_KEY'] === given['SECRET_KEY']) {
    faults.push('JWT_SECRET_KEY and SECRET_KEY must differ.');
  }
  if (given['PUBLIC_URL'] && !isHttpsOrLoopback(given['PUBLIC_URL'])) {
    faults.push('PUBLIC_URL must begin with https:// in production.');
  }
  if (given['ALLOWED_ORIGINS']?.includes('*')) {
    faults.push('ALLOWED_ORIGINS must name its origins in production; * is refused.');
  }
  return faults;
}

/** Too short, too uniform, or made of the words that samples and word lists are made of. */
export function isWeakSecret(secret: string): boolean {
  const sampleWords =
    /your|secret|change|sample|example|password|placeholder|default|test|demo|key|here|jwt|12345*6*7*8*9*0*|abcd|qwerty|[-_ .]/gi;
  const rest = secret.replace(sampleWords, '');
  return Buffer.byteLength(secret) < 32 || rest.length < 20 || new Set(rest).size < 10;
}

function isHttpsOrLoopback(url: string): boolean {
  if (!URL.canParse(url)) return true;
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}
