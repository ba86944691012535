import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** From a cached answer to a slow provider. */
const DURATION_BUCKETS_SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** What is counted in the database is counted at most so often, however often it is asked for. */
const COUNTED_ANEW_MS = 30_000;

/** The metrics of one application, in a registry of its own: for `GET /metrics`, in Prometheus' text format or OpenMetrics. */
@Injectable()
export class Metrics implements OnApplicationShutdown {
  readonly registry = new Registry();
  private readonly requests = new Counter({
    name: 'api_requests_total',
    help: 'Answered requests, by the template of their route.',
    labelNames: ['endpoint', 'method', 'status'] as const,
    registers: [this.registry],
  });
  private readonly durations = new Histogram({
    name: 'api_request_duration_seconds',
    help: 'Time from a request to its answer.',
    labelNames: ['endpoint', 'method'] as const,
    buckets: DURATION_BUCKETS_SECONDS,
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /**
   * Counts an answered request.
   * @param endpoint the template of its route, never its path: what a client sends must not become a label.
   */
  answered(endpoint: string, method: string, status: number, seconds: number): void {
    this.requests.inc({ endpoint, method, status });
    this.durations.observe({ endpoint, method }, seconds);
  }

  counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] });
  }

  /** A gauge of something this process knows, read when it is asked for. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** A gauge of what the database holds, the same for all processes. A failed count leaves the last one. */
  counted(name: string, help: string, count: () => Promise<number>): void {
    let countedAtMs = -Infinity;
    new Gauge({
      name,
      help,
      registers: [this.registry],
      async collect() {
        if (performance.now() - countedAtMs < COUNTED_ANEW_MS) return;
        countedAtMs = performance.now();
        this.set(await count().catch(() => NaN));
      },
    });
  }

  onApplicationShutdown(): void {
    this.registry.clear();
  }
}
