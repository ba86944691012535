/** Injection token of the process's logger, a pino `Logger`. */
export const LOG = Symbol('LOG');
