import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
const BUILDS_KEPT = 3;
const ABANDONED_AFTER_MS = 600_000;

/**
 * Compiles into a folder of its own, `dist.<time>-<pid>`, and then points the link `dist` at it. The switch is one
 * rename, and a process keeps the folder that it was started from, so nothing that runs is disturbed and builds may
 * overlap. A failed compile prints its errors, leaves `dist` as it was and exits 1.
 */
export function build() {
  const fingerprint = sourceFingerprint();
  const name = `dist.${Date.now()}-${process.pid}`;
  const folder = join(root, name);
  if (!compile(folder)) {
    rmSync(folder, { recursive: true, force: true });
    process.exit(1);
  }
  writeFileSync(join(folder, 'sources.sha256'), fingerprint);

  const link = `${folder}.link`;
  symlinkSync(name, link);
  moveFolderAway(dist, `${folder}.replaced`);
  renameSync(link, dist);
  removeOldBuilds();
}

/** Builds when the sources differ from those that `dist` was built from. */
export function buildIfStale() {
  const stamp = join(dist, 'sources.sha256');
  const isCurrent = existsSync(stamp) && readFileSync(stamp, 'utf8') === sourceFingerprint();
  if (isCurrent) return;
  console.error('Building ...');
  build();
}

function compile(folder) {
  let tsc;
  try {
    tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  } catch {
    console.error('There is no TypeScript here to build with: run npm ci, with the development packages.');
    process.exit(1);
  }
  const args = [tsc, '-p', join(root, 'tsconfig.build.json'), '--noEmit', 'false', '--outDir', folder];
  // On standard error, so that the output of a command that builds first stays its own.
  return spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 2, 2] }).status === 0;
}

/** By content: times change with every copy and checkout, and do not tell that a file is gone. */
function sourceFingerprint() {
  const hash = createHash('sha256');
  const configs = readdirSync(root).filter((name) => /^tsconfig.*\.json$/.test(name));
  for (const path of ['package-lock.json', ...configs, ...filesIn('migrations'), ...filesIn('src')]) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0');
  }
  return hash.digest('hex');
}

function filesIn(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.spec.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => path.slice(root.length + 1));
}

/** A `dist` from another tool, such as nest start, is a folder, and a link cannot be renamed over a folder. */
function moveFolderAway(folder, aside) {
  if (!lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
  try {
    renameSync(folder, aside);
  } catch (error) {
    // A build at the same moment has moved it.
    if (error.code !== 'ENOENT') throw error;
  }
  rmSync(aside, { recursive: true, force: true });
}

/** The last few stay, for the processes that started from them; what is young may be a build under way. */
function removeOldBuilds() {
  const all = readdirSync(root).filter((name) => /^dist\.\d+-\d+/.test(name));
  const done = all
    .filter((name) => /-\d+$/.test(name) && existsSync(join(root, name, 'sources.sha256')))
    .sort();
  const builtBeforeMs = Date.now() - ABANDONED_AFTER_MS;
  const isAbandoned = (name) => !done.includes(name) && Number(/\d+/.exec(name)[0]) < builtBeforeMs;
  for (const name of [...done.slice(0, -BUILDS_KEPT), ...all.filter(isAbandoned)]) {
    rmSync(join(root, name), { recursive: true, force: true });
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) build();
