import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { VERSION } from '../../common/version';
import type { Env } from '../../config/env';
import { type TraceAttributes, Traces } from './traces';

const EXPORT_TIMEOUT_MS = 5_000;

/** Where a piece of work stands: the span it is part of, and the request it is done for. */
interface Place {
  readonly context: Context;
  readonly requestId: string;
}

/** Spans for a collector that speaks OTLP over HTTP. Loaded only with `OTEL_EXPORTER_OTLP_ENDPOINT`. */
export class OpenTelemetry extends Traces {
  private readonly places = new AsyncLocalStorage<Place>();
  private readonly spans = new WeakMap<FastifyRequest, Span>();
  private readonly propagator = new W3CTraceContextPropagator();
  private readonly provider: TracerProvider;
  private readonly tracer: Tracer;

  constructor(env: Env) {
    super();
    const { OTEL_EXPORTER_OTLP_ENDPOINT = '', OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER_ARG } = env;
    const exporter = new OTLPTraceExporter({
      url: `${OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces`,
      headers: Object.fromEntries(
        OTEL_EXPORTER_OTLP_HEADERS.map((pair) => pair.split(/=(.*)/s, 2) as [string, string]),
      ),
      timeoutMillis: EXPORT_TIMEOUT_MS,
    });
    const resource = resourceFromAttributes({
      'service.name': env.OTEL_SERVICE_NAME,
      'service.version': VERSION,
    });
    this.provider = new TracerProvider({
      resource: defaultResource().merge(resource),
      // Who asks with a trace of his own has decided whether it is kept.
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(OTEL_TRACES_SAMPLER_ARG) }),
      spanProcessors: [new BatchSpanProcessor({ exporter, exportTimeoutMillis: EXPORT_TIMEOUT_MS })],
    });
    this.tracer = this.provider.getTracer('cortex-auth', VERSION);
  }

  /** A span per request, named by the template of its route; `traceparent` says whose trace it goes on with. */
  override watch(fastify: FastifyInstance): void {
    fastify.addHook('onRequest', (request, _reply, done) => {
      const { method, headers, routeOptions, id } = request;
      const route = routeOptions.url ?? 'none';
      const attributes = { 'http.request.method': method, 'http.route': route, request_id: id };
      const parent = this.propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
      const options = { kind: SpanKind.SERVER, attributes };
      this.spans.set(request, this.tracer.startSpan(`${method} ${route}`, options, parent));
      done();
    });
    // Not earlier: what listens for the body loses the place, as it is called by the socket.
    fastify.addHook('preValidation', (request, _reply, done) => {
      const span = this.spans.get(request);
      if (!span) done();
      else this.places.run({ context: trace.setSpan(ROOT_CONTEXT, span), requestId: request.id }, done);
    });
    fastify.addHook('onResponse', (request, { statusCode }, done) => {
      const span = this.spans.get(request);
      span?.setAttribute('http.response.status_code', statusCode);
      if (statusCode >= 500) span?.setStatus({ code: SpanStatusCode.ERROR });
      span?.end();
      done();
    });
  }

  override async span<T>(
    name: string,
    attributes: () => TraceAttributes,
    work: () => Promise<T>,
    own?: 'own trace',
  ): Promise<T> {
    const place = own ? undefined : this.places.getStore();
    const given = { ...attributes(), ...(place && { request_id: place.requestId }) };
    const span = this.tracer.startSpan(name, { attributes: given }, place?.context ?? ROOT_CONTEXT);
    const inside = { context: trace.setSpan(ROOT_CONTEXT, span), requestId: place?.requestId ?? '' };
    try {
      return await this.places.run(inside, work);
    } catch (error) {
      // Its name and no more: a message may quote what was worked on.
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : 'error' });
      throw error;
    } finally {
      span.end();
    }
  }

  override headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    const place = this.places.getStore();
    if (place) this.propagator.inject(place.context, headers, defaultTextMapSetter);
    return headers;
  }

  override onApplicationShutdown(): Promise<void> {
    return this.provider.shutdown();
  }
}
