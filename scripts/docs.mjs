import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildIfStale } from './build.mjs';

/*
 * npm run docs
 * Writes what is derived from the code: the tables of docs/configuration.md, docs/errors.md, docs/gateway.md and docs/limits.md,
 * .env.example and docs/openapi.json. The text around the tables is written by hand.
 */

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The generated files, by path: the text as it stands with its tables made anew.
 * @param facts `settings` of src/config/settings, `parseEnv` of src/config/env, `errorCatalogue` of
 * src/common/api-error, `denials` of src/common/denials, `policies` of src/limits/policies, `plans` of src/users/plans
 * and `tokenBeyondNanoUsd`, its `TOKEN_BEYOND_NANO_USD`.
 * @param read gives the text of a file of the project.
 */
export function generatedFiles(facts, read) {
  return {
    '.env.example': envExample(facts),
    'docs/configuration.md': fill(read('docs/configuration.md'), 'settings', settingsTable(facts)),
    'docs/errors.md': fill(read('docs/errors.md'), 'errors', errorsTable(facts)),
    'docs/gateway.md': fill(read('docs/gateway.md'), 'denials', denialsTable(facts)),
    'docs/limits.md': fill(
      fill(read('docs/limits.md'), 'plans', plansTable(facts)),
      'policies',
      policiesTable(facts),
    ),
  };
}

/** The text of docs/openapi.json. */
export function openApiText(document) {
  return `${JSON.stringify(document, null, 2)}\n`;
}

function fill(text, name, block) {
  const begin = `<!-- ${name}: written by npm run docs -->`;
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(`<!-- end of ${name} -->`);
  if (!text.includes(begin) || to < from) throw new Error(`The marks of "${name}" are missing.`);
  return `${text.slice(0, from)}\n\n${block}\n\n${text.slice(to)}`;
}

function settingsTable({ settings, parseEnv }) {
  const required = requiredInProduction(parseEnv);
  return table(
    ['Setting', 'Value', 'Default', 'In production', 'What it does'],
    Object.entries(settings.shape).map(([name, schema]) => {
      const fallback = defaultOf(schema);
      return [
        `\`${name}\``,
        ruleOf(schema),
        fallback && `\`${fallback}\``,
        required.get(name) ?? '',
        schema.description,
      ];
    }),
  );
}

/** What production needs, by name: asked of the check itself, so that the table cannot say anything else. */
function requiredInProduction(parseEnv) {
  try {
    parseEnv({ NODE_ENV: 'production' }, () => ({}));
  } catch (error) {
    return new Map(
      error.faults.flatMap((fault) => {
        const [, name, instead] = /^(\w+)(?: or (\w+))? is required/.exec(fault) ?? [];
        return name ? [[name, instead ? `required, or \`${instead}\`` : 'required']] : [];
      }),
    );
  }
  throw new Error('Production starts without any setting.');
}

/** What a setting may be, as its own error message says it. */
function ruleOf(schema) {
  const { error } = schema.safeParse('?');
  return error ? error.issues[0].message.replace(/^must (be |hold )?/, '') : 'text';
}

/** The default as one would write it into the environment; empty when there is none. */
function defaultOf(schema) {
  const { data } = schema.safeParse(undefined);
  return data === undefined || (data === false && !/true or false/.test(ruleOf(schema))) ? '' : String(data);
}

function envExample({ settings }) {
  const entries = Object.entries(settings.shape).map(([name, schema]) => {
    const comment = wrap(schema.description.replaceAll('`', ''), 100).map((line) => `# ${line}`);
    return [...comment, `${name}=${defaultOf(schema)}`].join('\n');
  });
  return `# Copy to .env and change what you need; the environment wins over it. An empty value counts as absent.
# Each setting may also be given as NAME_FILE, the path of a file that holds the value.
# Written by npm run docs; explained in docs/configuration.md.

${entries.join('\n\n')}
`;
}

function errorsTable({ errorCatalogue }) {
  return table(
    ['Code', 'Status', 'Title', 'Text'],
    errorCatalogue().map(({ code, status, title, detail }) => [
      `\`${code}\``,
      String(status),
      title,
      detailText(detail),
    ]),
  );
}

function denialsTable({ denials }) {
  return table(
    ['Code', 'HTTP', '`code` of the problem', 'Meaning'],
    Object.entries(denials).map(([code, { status, problem, meaning }]) => [
      `\`${code}\``,
      String(status),
      `\`${problem}\``,
      meaning,
    ]),
  );
}

/** A text that depends on the case shows the names of its parts, such as `{provider}`. */
function detailText(detail) {
  if (typeof detail === 'string') return detail;
  const [, names] = /^\(?([\w\s,]*)\)?\s*=>/.exec(String(detail)) ?? [];
  if (!names) throw new Error(`An error's text has parameters without a name: ${String(detail)}`);
  // A list stands in for a text as well as for a list.
  return detail(...names.split(',').map((name) => [`{${name.trim()}}`]));
}

function plansTable({ plans, tokenBeyondNanoUsd }) {
  // Of 1e-7 and less JavaScript would write an exponent.
  const tokenBeyondUsd = (Number(tokenBeyondNanoUsd) / 1e9).toFixed(9).replace(/0+$/, '');
  const rows = [
    ['US dollars a month', ({ priceUsdPerMonth }) => priceUsdPerMonth],
    [
      'tokens a month; beyond them',
      ({ tier, tokensIncludedPerMonth, beyondIncluded }) =>
        tier === 'internal' ? 'no limit' : `${amount(tokensIncludedPerMonth)}; ${beyondIncluded}`,
    ],
    [
      'US dollars for a token beyond them',
      ({ tier, beyondIncluded }) => {
        if (tier === 'internal') return 'not sold';
        return beyondIncluded === 'billed' ? tokenBeyondUsd : beyondIncluded;
      },
    ],
    ['active API keys', ({ activeKeysMax }) => activeKeysMax],
    ["a key's `rate_limit_per_minute`, at most", ({ keyRatePerMinuteMax }) => keyRatePerMinuteMax],
    ['metered requests in any hour, per user', ({ requestsPerHourMax }) => requestsPerHourMax],
    ['metered requests in any 24 hours, per user', ({ requestsPerDayMax }) => requestsPerDayMax],
    ['tokens of `generate` in any minute, per user', ({ tokensPerMinuteMax }) => tokensPerMinuteMax.generate],
  ];
  const all = Object.values(plans);
  return table(
    ['', ...all.map(({ tier }) => `\`${tier}\``)],
    rows.map(([title, value]) => [title, ...all.map((plan) => amount(value(plan)))]),
  );
}

/** What falls under each policy. A policy without a sentence here fails, so none goes undocumented. */
const policyScopes = {
  anonymous:
    'every request to a public route, but `/`, `/health`, `/metrics` and `POST /api/v1/webhooks/polar`',
  user: 'every request with an access token',
  'api-key': 'every request with an API key, but `GET /api/v1/usage/check`',
  'plan-hour': 'metered requests',
  'plan-day': 'metered requests',
  'generate-tokens':
    'tokens that calls of `POST /api/v1/generate` may use: the bytes of the prompt and `max_tokens`',
  'wrong-credentials': 'requests with an access token or API key that is refused; no others count',
  'register-minute': '`POST /api/v1/auth/register`',
  'register-hour': '`POST /api/v1/auth/register`',
  login: '`POST /api/v1/auth/login` and `/auth/login/two-factor`',
  'reset-email': '`POST /api/v1/auth/password/reset`, by the address that is asked for',
  'reset-address': '`POST /api/v1/auth/password/reset`',
  'verify-email': '`POST /api/v1/auth/verify-email`',
  'resend-email': '`POST /api/v1/auth/verify-email/resend`, by the address that is asked for',
  'resend-address': '`POST /api/v1/auth/verify-email/resend`',
  'password-change': '`POST /api/v1/auth/password/change`, `DELETE /api/v1/auth/me`',
  'account-export': '`GET /api/v1/auth/me/export`',
  'two-factor': '`POST /api/v1/auth/2fa/...`, but for `/reset/stop`',
  'email-change': '`POST /api/v1/auth/me/email`',
  'email-change-email': '`POST /api/v1/auth/me/email`, by the address that is asked for',
  'key-creation': '`POST /api/v1/auth/api-keys`, and the rotation of a key',
  'key-creation-address': '`POST /api/v1/auth/api-keys`, and the rotation of a key',
  'usage-export': '`GET /api/v1/auth/usage/export`',
  billing: '`POST` to `/api/v1/auth/billing/...`',
};

function policiesTable({ policies, plans }) {
  return table(
    ['Policy', 'Applies to', 'Counted per', 'Limit', 'In any'],
    Object.entries(policies).map(([name, policy]) => {
      const scope = policyScopes[name];
      if (!scope) throw new Error(`scripts/docs.mjs does not say what the policy "${name}" applies to.`);
      return [
        `\`${name}\``,
        scope,
        policy.scope.replace('_', ' '),
        limitText(policy.limit, plans),
        spanText(policy.windowSeconds),
      ];
    }),
  );
}

function limitText(limit, plans) {
  if (typeof limit === 'number') return amount(limit);
  const ownLimit = 7;
  const byTier = Object.values(plans).map(({ tier }) => [
    tier,
    limit({ kind: 'api_key', tier, rateLimitPerMinute: ownLimit }),
  ]);
  if (byTier.every(([, value]) => value === ownLimit)) return "the key's `rate_limit_per_minute`";
  const usual = byTier[0][1];
  const others = byTier.filter(([, value]) => value !== usual);
  if (others.length > 1) return "by the owner's plan";
  return [amount(usual), ...others.map(([tier, value]) => `\`${tier}\`: ${amount(value)}`)].join('; ');
}

function spanText(seconds) {
  if (seconds % 3600 !== 0) return `${seconds} seconds`;
  return seconds === 3600 ? 'hour' : `${seconds / 3600} hours`;
}

function amount(value) {
  return value === null ? 'no limit' : value.toLocaleString('en-US');
}

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

function wrap(text, width) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last && last.length + word.length >= width) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return lines;
}

async function main() {
  process.chdir(root);
  buildIfStale();
  const { parseEnv } = await import('../dist/src/config/env.js');
  const { settings } = await import('../dist/src/config/settings.js');
  const { createApp } = await import('../dist/src/app.setup.js');
  const { errorCatalogue } = await import('../dist/src/common/api-error.js');
  const { denials } = await import('../dist/src/common/denials.js');
  const { policies } = await import('../dist/src/limits/policies.js');
  const { plans, TOKEN_BEYOND_NANO_USD } = await import('../dist/src/users/plans.js');

  const tokenBeyondNanoUsd = TOKEN_BEYOND_NANO_USD;
  const facts = { settings, parseEnv, errorCatalogue, denials, policies, plans, tokenBeyondNanoUsd };
  const files = generatedFiles(facts, (path) => readFileSync(path, 'utf8'));
  files['docs/openapi.json'] = openApiText(await openApiDocument(parseEnv, createApp));
  for (const [path, text] of Object.entries(files)) {
    writeFileSync(path, text);
    console.log(path);
  }
}

/** Of an application with the default settings, on a throw-away database. */
async function openApiDocument(parseEnv, createApp) {
  const { buildOpenApi } = await import('../dist/src/openapi.js');
  const { createLog } = await import('../dist/src/platform/observability/log.js');
  const { startEmbeddedPostgres } = await import('../dist/src/platform/database/embedded-postgres.js');

  const secrets = () => ({ JWT_SECRET_KEY: 'j'.repeat(32), SECRET_KEY: 's'.repeat(32) });
  const env = parseEnv({ NODE_ENV: 'test' }, secrets);
  const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-docs-'));
  const postgres = await startEmbeddedPostgres(directory, { durable: false });
  try {
    const app = await createApp(env, postgres.url, createLog('silent'));
    const document = buildOpenApi(app);
    await app.close();
    return document;
  } finally {
    await postgres.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) void main();
