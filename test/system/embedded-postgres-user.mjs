/*
 * A process of its own for embedded-postgres.spec.ts:
 * node embedded-postgres-user.mjs <start|open> <directory> <options as JSON>
 * It says what came of it as one line of JSON, and stops or closes when its standard input ends.
 */
import { readFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { transformSync } from '@swc/core';

Module._extensions['.ts'] = (module, file) => {
  const { code } = transformSync(readFileSync(file, 'utf8'), {
    filename: file,
    swcrc: false,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
    module: { type: 'commonjs', ignoreDynamic: true },
  });
  module._compile(code, file);
};

const load = createRequire(import.meta.url);
const embedded = load('../../src/platform/database/embedded-postgres.ts');

const [how, directory, options] = process.argv.slice(2);
const enter = { start: embedded.startEmbeddedPostgres, open: embedded.openEmbeddedPostgres }[how];
try {
  const server = await enter(directory, JSON.parse(options));
  say({ url: server.url });
  process.stdin.resume().once('end', () => (server.stop ?? server.close)());
} catch (error) {
  say({ error: error.name, message: error.message });
  process.exitCode = 1;
}

function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}
