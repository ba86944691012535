const { createRequire } = require('node:module');
const { compileFunction, constants } = require('node:vm');
const { default: Runtime } = require('jest-runtime');

/** A package, or a module of the project that Node.js alone can load. */
const NATIVE = /^[^./]|\.mjs$/;

/**
 * Loads the project's own modules anew for every test file, as jest does, but packages once in a worker: jest would
 * evaluate Nest, TypeORM and all the others again for each file, which takes longer than most files' tests.
 */
module.exports = class SharedPackagesRuntime extends Runtime {
  constructor(...args) {
    super(...args);
    // In the worker's scope and not a new one, or an object of a test would be no `Object` to a package.
    this.executor.compile = (source, filename) =>
      compileFunction(source, this.executor.injectedModuleParameters, {
        filename,
        importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      });
  }

  requireModuleOrMock(from, name) {
    return NATIVE.test(name) ? createRequire(from)(name) : super.requireModuleOrMock(from, name);
  }
};
