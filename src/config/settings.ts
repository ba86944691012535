import { z } from 'zod';
import { isP256PrivateKey, PEM_BLOCK } from './private-keys';
import { redisUrl } from './redis-url';
import {
  baseUrl,
  commaList,
  flag,
  integer,
  mailAddress,
  origins,
  polarProduct,
  trustProxy,
  urlOf,
} from './setting-kinds';

/**
 * Every setting: its rule, its default and what it does.
 * `.env.example` holds exactly these names and `docs/configuration.md` these descriptions; a test compares them.
 */
export const settings = z.object({
  NODE_ENV: z
    .enum(['development', 'test', 'production'], 'must be development, test or production')
    .default('development')
    .describe('`production` refuses made-up secrets, the embedded database and the `echo` provider.'),
  PORT: integer(0, 65_535, 8000).describe('TCP port to listen on; 0 takes a free one.'),
  HOST: z.string().default('127.0.0.1').describe('Address to listen on; `0.0.0.0` in a container.'),
  PUBLIC_URL: baseUrl
    .optional()
    .describe(
      'Where users reach the service; mailed links point here and nowhere else. Development: `http://127.0.0.1:PORT`.',
    ),
  SERVICE_NAME: z
    .string()
    .regex(/^[^\p{C}:<>"]{1,64}$/u, 'must be 1 to 64 characters without a colon, quotes and angle brackets')
    .optional()
    .describe('What mails and authenticator apps call the service, such as `Acme`. Default: `PUBLIC_URL`.'),
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
    'Length of each of the two phases after SIGTERM, in milliseconds. In the first `/health/ready` answers 503 and everything else goes on; in the second new connections are refused, and each that is open carries one more request.',
  ),
  DOCS_ENABLED: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .optional()
    .describe('Serve `/docs` and `/openapi.json`. Default: true, in production false.'),

  METRICS_TOKEN: z
    .string()
    .min(16, 'must have 16 characters or more')
    .optional()
    .describe(
      'Asked for at `GET /metrics`, as bearer token. Default: in development anybody may read it, in production nobody.',
    ),
  OTEL_EXPORTER_OTLP_ENDPOINT: urlOf('http', 'https')
    .transform((text) => text.replace(/\/+$/, ''))
    .optional()
    .describe(
      'Collector that takes OpenTelemetry traces over HTTP, such as `http://127.0.0.1:4318`. Without it nothing is traced.',
    ),
  OTEL_EXPORTER_OTLP_HEADERS: commaList
    .refine(
      (pairs) => pairs.every((pair) => /^[\w-]+=./.test(pair)),
      'must be name=value, with commas between',
    )
    .default([])
    .describe('Headers that the collector asks for, such as `authorization=Bearer abc`: a comma list.'),
  OTEL_SERVICE_NAME: z.string().default('cortex-auth').describe('Name of this service in its traces.'),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .regex(/^(0(\.\d+)?|1(\.0+)?)$/, 'must be a number from 0 to 1')
    .transform(Number)
    .default(1)
    .describe(
      'Share of the traces that are kept, from 0 to 1, of requests that do not bring a trace of their own.',
    ),

  DATABASE_URL: urlOf('postgres', 'postgresql')
    .optional()
    .describe(
      'PostgreSQL 15 or later; TLS by `sslmode` and `sslrootcert` in the URL. Development without it: an embedded server in `DATA_DIR`.',
    ),
  POSTGRES_URL: urlOf('postgres', 'postgresql')
    .optional()
    .describe('Another name for `DATABASE_URL`, which wins.'),
  MIGRATION_DATABASE_URL: urlOf('postgres', 'postgresql')
    .optional()
    .describe(
      'The same database as the owner of the tables: migrations run by it, and `DATABASE_URL` is given the rights that the service needs. Default: `DATABASE_URL` owns the tables.',
    ),
  DATABASE_REPLICA_URL: urlOf('postgres', 'postgresql')
    .optional()
    .describe(
      'A streaming replica of the same database, with a role that may read: statistics, logs and exports of usage are read there while it answers and is ten seconds behind at most. Default: all is read from `DATABASE_URL`.',
    ),
  DATABASE_POOL_MAX: integer(2, 1000, 10).describe(
    'Most connections this process opens to PostgreSQL, and as many to a replica.',
  ),
  REDIS_URL: redisUrl
    .optional()
    .describe(
      'Redis 6 or later, where several processes share their rate limits; `rediss` is TLS, `redis+sentinel` names the Sentinels. Without it each process counts alone.',
    ),
  REDIS_TIMEOUT_MS: integer(1, 10_000, 50).describe(
    'Longest wait for Redis, in milliseconds; then the process goes on with its share of the limits until Redis is back.',
  ),
  DATA_DIR: z
    .string()
    .default('.data')
    .describe('Folder of the embedded database and of the development secrets.'),

  JWT_SECRET_KEY: z
    .string()
    .optional()
    .describe('Signs access tokens (HS256); 32 bytes or more. Development: made once, kept in `DATA_DIR`.'),
  JWT_SIGNING_KEYS: z
    .string()
    .transform((text) => text.match(PEM_BLOCK) ?? [''])
    .refine(
      (keys) => keys.every(isP256PrivateKey),
      'must hold private keys of P-256 in PEM, one after the other',
    )
    .default([])
    .describe(
      'Signs access tokens with ES256 instead: private keys in PEM; the first signs, all are accepted, `/.well-known/jwks.json` shows their public halves. Easiest as `JWT_SIGNING_KEYS_FILE`.',
    ),
  SECRET_KEY: z
    .string()
    .optional()
    .describe(
      'Everything else that is derived or encrypted; 32 bytes or more, not `JWT_SECRET_KEY`. Development: made once.',
    ),
  ENCRYPTION_KEYS: commaList
    .refine(
      (keys) => keys.every((key) => Buffer.byteLength(key) >= 32),
      'must be secrets of 32 bytes or more',
    )
    .default([])
    .describe(
      'Encrypts the secrets of two-factor apps instead of `SECRET_KEY`: a comma list; the first encrypts, all of them and `SECRET_KEY` decrypt. `npm run secrets:rotate` encrypts anew what is not under the first.',
    ),
  ACCESS_TOKEN_EXPIRE_MINUTES: integer(1, 1440, 30).describe('Life of an access token, in minutes.'),
  ARGON2_MEMORY_KIB: integer(19_456, 4_194_304, 47_104).describe(
    'argon2id memory per hash, in KiB, no less than OWASP asks. Another value holds for an old hash from its next log-in on.',
  ),
  ARGON2_TIME_COST: integer(2, 100, 2).describe('argon2id passes.'),
  REQUIRE_EMAIL_VERIFICATION: flag(false).describe('true: no API key before the e-mail address is verified.'),
  SIGNUP_ENUMERATION_SAFE: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .optional()
    .describe(
      'true: sign-up with a taken address answers like a new one. Default: false, in production true.',
    ),
  BREACHED_PASSWORDS_URL: baseUrl
    .optional()
    .describe(
      'Refuses new passwords known from data breaches: base URL of a service with the range protocol of Have I Been Pwned, such as `https://api.pwnedpasswords.com`. It is told five digits of a SHA-1, and waited for one second at most. Default: nobody is asked.',
    ),
  REPORT_AGE_DAYS_MAX: integer(1, 366, 31).describe(
    'Oldest usage that `POST /usage/events` and `POST /usage/track` accept, in days.',
  ),
  EXTRA_PERMISSIONS: commaList
    .refine(
      (names) => names.every((name) => /^[a-z][a-z0-9_.:-]{0,63}$/.test(name)),
      'must be names of lower-case letters, digits and _.:-',
    )
    .default([])
    .describe(
      'Additional permission names for API keys, checked by your own backends: a comma list. Built in: `read`, `write`, `generate`.',
    ),

  IMPORTED_KEY_PREFIXES: commaList
    .refine(
      (prefixes) => prefixes.every((prefix) => /^(?!ctx|eyJ)[A-Za-z0-9][A-Za-z0-9_.:-]{2,31}$/.test(prefix)),
      'must be beginnings of keys, 3 to 32 letters, digits and _.:-, and neither ctx nor eyJ',
    )
    .default([])
    .describe(
      'What imported API keys begin with, such as `sk_live_`: a comma list. Only such texts, and keys of this service, are looked up.',
    ),

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
  SECRET_SCANNING_KEYS_URL: urlOf('https', 'http')
    .default('https://api.github.com/meta/public_keys/secret_scanning')
    .describe(
      "Where the public keys are listed that GitHub's secret scanning signs its reports of leaked API keys with.",
    ),
  POLAR_API_KEY: z
    .string()
    .optional()
    .describe(
      'Turns billing on: an organization access token of Polar (`polar_oat_...`). See docs/billing.md.',
    ),
  POLAR_WEBHOOK_SECRET: commaList
    .refine(
      (secrets) => secrets.length > 0 && secrets.every((secret) => secret.length >= 32),
      'must hold one or more secrets of at least 32 characters each',
    )
    .optional()
    .describe(
      "Secret of Polar's webhook endpoint; while it is exchanged, the new and the old one with a comma between them. Without it webhooks are answered with 503.",
    ),
  POLAR_SERVER: z
    .union(
      [z.enum(['production', 'sandbox']), urlOf('https', 'http')],
      'must be production, sandbox or a URL beginning with https:// or http://',
    )
    .default('production')
    .describe("Which Polar: `production`, `sandbox`, or another server's URL without `/v1`."),
  POLAR_FLUSH_SECONDS: integer(1, 3_600, 60).describe('How often usage is reported to Polar, in seconds.'),
  POLAR_PRODUCT_STARTER: polarProduct('starter'),
  POLAR_PRODUCT_PROFESSIONAL: polarProduct('professional'),
  POLAR_PRODUCT_ENTERPRISE: polarProduct('enterprise'),
  PROVIDER_TIMEOUT_SECONDS: integer(1, 300, 60).describe(
    'Longest wait for a provider, in seconds; then 504.',
  ),
});
