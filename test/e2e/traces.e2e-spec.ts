import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { FakeProvider } from '../support/fake-providers';
import { startTestApp, type TestApp } from '../support/test-app';

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly attributes: { readonly key: string; readonly value: Record<string, unknown> }[];
}

/** The part of a collector that is asked: OTLP over HTTP, in JSON. */
class Collector {
  readonly spans: Span[] = [];
  readonly heads: IncomingHttpHeaders[] = [];
  private readonly server: Server = createServer((request, response) => {
    this.heads.push({ ...request.headers, path: request.url });
    void json(request).then((body) => {
      const { resourceSpans } = body as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] };
      this.spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)));
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });

  async start(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** The one span of a name, and what is told of it. */
  the(name: string): Span & { told: Record<string, unknown> } {
    const found = this.spans.filter((span) => span.name === name);
    expect([name, found.length]).toEqual([name, 1]);
    const [span] = found as [Span];
    return {
      ...span,
      told: Object.fromEntries(span.attributes.map(({ key, value }) => [key, Object.values(value)[0]])),
    };
  }
}

describe('traces', () => {
  const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
  const PARENT = '00f067aa0ba902b7';
  const collector = new Collector();
  let provider: FakeProvider;
  let t: TestApp;
  let requestId: string;

  beforeAll(async () => {
    provider = await FakeProvider.start('openai');
    t = await startTestApp({
      settings: {
        OTEL_EXPORTER_OTLP_ENDPOINT: await collector.start(),
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer for the collector',
        OPENAI_API_KEY: provider.apiKey,
        OPENAI_BASE_URL: provider.baseUrl,
      },
    });
    const { key } = await t.make.apiKey();
    const answer = await t.http.post('/generate', {
      key,
      body: { user_id: 'u', prompt: 'A secret prompt', provider: 'openai' },
      headers: { traceparent: `00-${TRACE}-${PARENT}-01` },
    });
    expect(answer.status).toBe(200);
    requestId = answer.body.request_id as string;
    await t.http.post('/auth/register', {
      body: { email: 'traced@example.com', password: 'correct horse battery staple' },
    });
    await t.mails('traced@example.com');
    await t.close();
  });
  afterAll(async () => {
    collector.stop();
    await provider.close();
  });

  it("go on with the caller's trace, through the call of the provider and into it", () => {
    const request = collector.the('POST /api/v1/generate');
    expect(request).toMatchObject({ traceId: TRACE, parentSpanId: PARENT });
    expect(request.told).toMatchObject({ request_id: requestId, 'http.response.status_code': 200 });

    const call = collector.the('provider call');
    expect(call).toMatchObject({ traceId: TRACE, parentSpanId: request.spanId });
    expect(call.told).toEqual({ provider: 'openai', request_id: requestId });
    expect(provider.requests.at(-1)?.headers['traceparent']).toBe(`00-${TRACE}-${call.spanId}-01`);
  });

  it('tell of the batch that the call was committed in, by its id, and of jobs', () => {
    const commit = collector.the('usage commit');
    expect(commit.told['request_ids']).toEqual({ values: [{ stringValue: requestId }] });
    expect(commit.traceId).not.toBe(TRACE);
    const jobs = collector.spans.filter(({ name }) => name.startsWith('job '));
    expect(jobs.map(({ name }) => name)).toContain('job mail');
  });

  it('reach the collector with the header it asks for, and hold nothing that a client wrote', () => {
    expect(collector.heads.length).toBeGreaterThan(0);
    expect(collector.heads[0]).toMatchObject({
      path: '/v1/traces',
      authorization: 'Bearer for the collector',
    });
    expect(JSON.stringify(collector.spans)).not.toMatch(/secret prompt|traced@example/);
  });

  it('cost nothing without a collector: only one file names OpenTelemetry, and it is loaded on demand', () => {
    const src = join(__dirname, '../../src');
    const sources = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((path) =>
      /\.ts$/.test(path),
    );
    const naming = (text: string): string[] =>
      sources.filter((path) => readFileSync(join(src, path), 'utf8').includes(text));
    expect(naming(`'@opentelemetry/`)).toEqual(['platform/observability/open-telemetry.ts']);
    expect(naming(`from './open-telemetry'`)).toEqual([]);
  });
});
