import type { FastifyInstance } from 'fastify';

/** What is told of a piece of work: names, ids and numbers; nothing that a client wrote, and no secret. */
export type TraceAttributes = Record<string, string | number | string[]>;

/** Pieces of work with a beginning and an end (spans), each within the request that asked for it. */
export abstract class Traces {
  /** Has every request traced. */
  abstract watch(fastify: FastifyInstance): void;

  /**
   * Does a piece of work and answers what it answers.
   * @param attributes asked for only when somebody is told.
   * @param own it is done for many requests or none: it begins a trace of its own.
   */
  abstract span<T>(
    name: string,
    attributes: () => TraceAttributes,
    work: () => Promise<T>,
    own?: 'own trace',
  ): Promise<T>;

  /** Headers (W3C Trace Context) that let whom we ask go on with the trace. */
  abstract headers(): Record<string, string>;

  /** Tells what is not told yet. */
  abstract onApplicationShutdown(): Promise<void>;
}

/** Nobody is told: without `OTEL_EXPORTER_OTLP_ENDPOINT`. No request pays for it. */
export class NoTraces extends Traces {
  override watch(): void {
    // No hook is the cheapest one.
  }

  override span<T>(_name: string, _attributes: () => TraceAttributes, work: () => Promise<T>): Promise<T> {
    return work();
  }

  override headers(): Record<string, string> {
    return {};
  }

  override onApplicationShutdown(): Promise<void> {
    return Promise.resolve();
  }
}
