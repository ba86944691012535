const { TestEnvironment } = require('jest-environment-node');

/** Every test file runs in its worker's own global scope, for the packages that the files share (jest-runtime.cjs). */
module.exports = class SharedEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    this.global = globalThis;
  }

  /** The global scope outlives a file: there is nothing to tear down. */
  async teardown() {}
};
