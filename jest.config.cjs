const { availableParallelism } = require('node:os');

const base = {
  rootDir: __dirname,
  testEnvironment: '<rootDir>/test/support/jest-environment.cjs',
  runtime: '<rootDir>/test/support/jest-runtime.cjs',
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
          target: 'es2023',
        },
        module: { type: 'commonjs' },
      },
    ],
  },
  moduleFileExtensions: ['ts', 'js', 'mjs', 'cjs', 'json', 'node'],
};

/** What takes long, and CI does besides: npm run test:slow. One file after the other, for some are about time. */
const slow = { ...base, displayName: 'slow', testMatch: ['<rootDir>/test/slow/**/*.spec.ts'] };

module.exports = {
  // Many tests wait for processes they started, so two cores have three.
  maxWorkers: process.env.SLOW ? 1 : Math.ceil(availableParallelism() * 1.5),
  // What files leave behind in the packages they share goes with the worker.
  workerIdleMemoryLimit: '1GB',
  testTimeout: 60_000,
  projects: process.env.SLOW
    ? [slow]
    : [
        {
          ...base,
          displayName: 'unit',
          testMatch: ['<rootDir>/src/**/*.spec.ts', '<rootDir>/test/*.spec.ts'],
        },
        {
          ...base,
          displayName: 'e2e',
          testMatch: ['<rootDir>/test/e2e/**/*.e2e-spec.ts'],
          globalSetup: '<rootDir>/test/support/global-setup.ts',
          globalTeardown: '<rootDir>/test/support/global-teardown.ts',
        },
        { ...base, displayName: 'system', testMatch: ['<rootDir>/test/system/**/*.spec.ts'] },
      ],
};
