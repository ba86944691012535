import { existsSync, readFileSync, realpathSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
// A missing name in an import list would fail before the version check below can explain itself.
import * as util from 'node:util';

/*
 * node scripts/run.mjs <entry> [argument ...]
 * Runs an entry of dist/src, such as main.js or admin/cli.js, in this process; outside production it builds first
 * when the sources have changed.
 */
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 12)) {
  fail(
    `Node.js 22.12 or later is needed; this is ${process.version}. npm start brings its own on Linux after npm ci.`,
  );
}

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [entry, ...args] = process.argv.slice(2);
if (!entry) fail('Which entry? For example: node scripts/run.mjs main.js');

const dotEnv = existsSync('.env') ? util.parseEnv(readFileSync('.env', 'utf8')) : {};
const isProduction = (process.env.NODE_ENV || dotEnv.NODE_ENV) === 'production';
if (!isProduction) (await import('./build.mjs')).buildIfStale();

const file = join(root, 'dist', 'src', entry);
if (!existsSync(file)) {
  const faults = await settingsFaults();
  fail(`${file} is missing: run npm run build first, which production never does by itself.\n${faults}`);
}

// Half of a start is compiling packages: what was compiled stands in the build's own folder, where that can be written.
nodeModule.enableCompileCache?.(join(dirname(dirname(realpathSync(file))), '.compiled'));

// The entry sees the arguments of a program that was started directly.
process.argv = [process.argv[0], realpathSync(file), ...args];
await import(pathToFileURL(process.argv[1]).href);

/** What is wrong with the settings, so that it is said at once and not after the build; read from the sources, whose types Node.js strips. */
async function settingsFaults() {
  const { registerHooks } = await import('node:module');
  registerHooks({
    resolve: (name, context, next) => next(/^\.\.?\/[^.]*$/.test(name) ? `${name}.ts` : name, context),
  });
  try {
    const { loadEnv } = await import('../src/config/env.ts');
    loadEnv();
  } catch (error) {
    if (error.name === 'ConfigurationError') return error.message;
  }
  return '';
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
