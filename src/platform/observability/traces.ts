import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';

/** What is told of a piece of work: names, ids and numbers; nothing that a client wrote, and no secret. */
export type TraceAttributes = Record<string, string | number | readonly string[]>;

/**
 * Pieces of work with a beginning and an end (spans), each within the request that asked for it. This one tells nobody:
 * with `OTEL_EXPORTER_OTLP_ENDPOINT` its place is taken by {@link import('./open-telemetry').OpenTelemetry}.
 */
@Injectable()
export class Traces implements OnApplicationShutdown {
  /** Has every request traced. */
  watch(_fastify: FastifyInstance): void {
    // Nobody is told, so no request pays for a hook.
  }

  /**
   * Does a piece of work and answers what it answers.
   * @param attributes asked for only when somebody is told.
   * @param own it is done for many requests or none: it begins a trace of its own.
   */
  span<T>(
    _name: string,
    _attributes: () => TraceAttributes,
    work: () => Promise<T>,
    _own?: 'own trace',
  ): Promise<T> {
    return work();
  }

  /** Headers (W3C Trace Context) that let whom we ask go on with the trace. */
  headers(): Record<string, string> {
    return {};
  }

  /** Tells what is not told yet. */
  onApplicationShutdown(): Promise<void> {
    return Promise.resolve();
  }
}
