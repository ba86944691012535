import { existsSync, readFileSync } from 'node:fs';
import { parseEnv as parseDotEnv } from 'node:util';
import type { z } from 'zod';
import { developmentSecrets } from './development-secrets';
import { productionFaults } from './production-rules';
import { settings } from './settings';

type Settings = z.infer<typeof settings>;

/** The settings in force: parsed once, frozen, with every value resolved that development may leave out. */
export type Env = Readonly<
  Omit<
    Settings,
    | 'POSTGRES_URL'
    | 'JWT_SECRET_KEY'
    | 'SECRET_KEY'
    | 'PUBLIC_URL'
    | 'SERVICE_NAME'
    | 'DOCS_ENABLED'
    | 'SIGNUP_ENUMERATION_SAFE'
  > & {
    JWT_SECRET_KEY: string;
    SECRET_KEY: string;
    PUBLIC_URL: string;
    SERVICE_NAME: string;
    DOCS_ENABLED: boolean;
    SIGNUP_ENUMERATION_SAFE: boolean;
    isProduction: boolean;
  }
>;

/** Injection token of {@link Env}. */
export const ENV = Symbol('ENV');

/** All faults of the settings at once, by name and rule; never a value, which may be a secret. */
export class ConfigurationError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(
      [
        'The service cannot start with these settings:',
        ...faults.map((fault) => `  - ${fault}`),
        'Each is explained in docs/configuration.md.',
      ].join('\n'),
    );
    this.name = 'ConfigurationError';
    this.faults = faults;
  }
}

/**
 * Reads the settings from the environment, a `.env` file in the working directory (the environment wins) and
 * `NAME_FILE` variables; outside production it makes missing secrets once and keeps them in `DATA_DIR`.
 * @throws ConfigurationError naming everything that is missing or wrong.
 */
export function loadEnv(source: NodeJS.ProcessEnv = process.env): Env {
  const dotEnv = existsSync('.env') ? parseDotEnv(readFileSync('.env', 'utf8')) : {};
  // A NAME_FILE of the environment also comes before a NAME of the file.
  const overridden = Object.keys(dotEnv).filter((name) => source[`${name}_FILE`] && !source[name]);
  return parseEnv(
    { ...dotEnv, ...Object.fromEntries(overridden.map((name) => [name, undefined])), ...source },
    developmentSecrets,
  );
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
  const publicUrl = values.PUBLIC_URL ?? `http://127.0.0.1:${values.PORT}`;
  const canSign = values.JWT_SECRET_KEY !== undefined || values.JWT_SIGNING_KEYS.length > 0;
  const made = canSign && values.SECRET_KEY ? undefined : makeSecrets(values.DATA_DIR);
  return Object.freeze({
    ...values,
    DATABASE_URL: values.DATABASE_URL ?? POSTGRES_URL,
    JWT_SECRET_KEY: values.JWT_SECRET_KEY ?? made?.JWT_SECRET_KEY ?? '',
    SECRET_KEY: values.SECRET_KEY ?? made?.SECRET_KEY ?? '',
    PUBLIC_URL: publicUrl,
    SERVICE_NAME: values.SERVICE_NAME ?? publicUrl,
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
