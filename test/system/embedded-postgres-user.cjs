/*
 * A process of its own for embedded-postgres.spec.ts: node embedded-postgres-user.cjs <start|open> <directory>
 * <options as JSON>. It says what came of it as one line of JSON, and stops or closes when its standard input ends.
 */
const { readFileSync } = require('node:fs');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, file) => {
  const { code } = transformSync(readFileSync(file, 'utf8'), {
    filename: file,
    swcrc: false,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
    module: { type: 'commonjs' },
  });
  module._compile(code, file);
};

const {
  openEmbeddedPostgres,
  startEmbeddedPostgres,
} = require('../../src/platform/database/embedded-postgres.ts');

const [, , how, directory, options] = process.argv;
const enter = { start: startEmbeddedPostgres, open: openEmbeddedPostgres }[how];

enter(directory, JSON.parse(options)).then(
  (server) => {
    say({ url: server.url });
    process.stdin.resume().once('end', () => (server.stop ?? server.close)());
  },
  (error) => {
    say({ error: error.name, message: error.message });
    process.exit(1);
  },
);

function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}
