import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OpenAPIObject } from '@nestjs/swagger';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { startTestApp, type TestApp } from '../support/test-app';

const COMMITTED = join(__dirname, '../../docs/openapi.json');

interface Schema {
  readonly description?: string;
  readonly example?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly allOf?: readonly { $ref: string }[];
  readonly $ref?: string;
}

interface Operation {
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { name: string; description?: string }[];
  readonly requestBody?: { content: Record<string, { schema: Schema }> };
  readonly responses: Readonly<
    Record<
      string,
      {
        description: string;
        headers?: Record<string, unknown>;
        content?: Record<string, { schema: Schema; examples?: Record<string, { value: unknown }> }>;
      }
    >
  >;
}

/** The document that clients are generated from, and the page that shows it. */
describe('the OpenAPI document', () => {
  let t: TestApp;
  let document: OpenAPIObject;
  let operations: (Operation & { name: string })[];
  let schemas: [name: string, schema: Schema][];
  // Not by the test's client: it takes a field named password for a leak.
  const load = (path: string): Promise<Response> => fetch(new URL(path, t.url));
  beforeAll(async () => {
    t = await startTestApp();
    document = (await (await load('/openapi.json')).json()) as OpenAPIObject;
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods as Record<string, Operation>).map(([method, operation]) => ({
        ...operation,
        name: `${method.toUpperCase()} ${path}`,
      })),
    );
    schemas = Object.entries(document.components?.schemas ?? {}) as [string, Schema][];
    expect(operations.length).toBeGreaterThan(12);
    expect(schemas.length).toBeGreaterThan(10);
  });
  afterAll(() => t.close());

  it('is the committed one', () => {
    if (!existsSync(COMMITTED))
      throw new Error('docs/openapi.json is missing. Write it with "npm run docs".');
    const committed = JSON.parse(readFileSync(COMMITTED, 'utf8')) as OpenAPIObject;
    // When this fails, the routes have changed: write the copy anew with "npm run docs".
    expect(document).toEqual(committed);
  });

  it('lints clean', async () => {
    const config = await createConfig({ extends: ['recommended'] });
    const problems = await lintFromString({
      source: JSON.stringify(document),
      absoluteRef: '/openapi.json',
      config,
    });
    const lines = problems.map(
      ({ ruleId, message, location }) =>
        `${ruleId}: ${message} ${location.map(({ pointer }) => pointer).join()}`,
    );
    expect(lines).toEqual([]);
  });

  it('says of every operation what it is, what it answers and what can go wrong', () => {
    const silent = operations.filter(
      ({ summary, tags = [], responses }) =>
        !summary ||
        tags.length === 0 ||
        !Object.keys(responses).some((status) => status.startsWith('2')) ||
        !Object.values(responses).some(({ content = {} }) => content['application/problem+json']) ||
        !Object.values(responses).every(({ description }) => description),
    );
    expect(silent.map(({ name }) => name)).toEqual([]);
    const known = document.tags?.map(({ name }) => name) ?? [];
    expect(operations.flatMap(({ tags = [] }) => tags).filter((tag) => !known.includes(tag))).toEqual([]);
  });

  it('shows every error with its own status and code', () => {
    const examples = operations.flatMap(({ name, responses }) =>
      Object.entries(responses).flatMap(([status, { content = {} }]) =>
        Object.entries(content['application/problem+json']?.examples ?? {}).map(([code, { value }]) => ({
          name,
          status,
          code,
          value,
        })),
      ),
    );
    expect(examples.length).toBeGreaterThan(50);
    const wrong = examples.filter(({ status, code, value }) => {
      const problem = value as { status: number; code: string };
      return String(problem.status) !== status || problem.code !== code;
    });
    expect(wrong).toEqual([]);
    const untold = examples.filter(({ value }) => {
      const { title, detail } = value as { title: string; detail: string };
      return detail === title || detail.includes('undefined');
    });
    expect(untold).toEqual([]);
  });

  it('names the headers of each answer', () => {
    const namesOf = (operation: string, status: string): string[] =>
      Object.keys(operations.find(({ name }) => name === operation)?.responses[status]?.headers ?? {}).sort();
    const limits = ['RateLimit', 'RateLimit-Policy'];
    expect(namesOf('GET /api/v1/auth/me', '200')).toEqual([...limits, 'X-Request-Id']);
    expect(namesOf('GET /api/v1/auth/me', '401')).toEqual(['WWW-Authenticate', 'X-Request-Id']);
    expect(namesOf('GET /api/v1/auth/me', '429')).toEqual([...limits, 'Retry-After', 'X-Request-Id']);
    expect(namesOf('GET /api/v1/auth/me', '503')).toEqual(['Retry-After', 'X-Request-Id']);
    expect(namesOf('POST /api/v1/generate', '409')).toEqual(['Retry-After', 'X-Request-Id']);
    expect(namesOf('POST /api/v1/auth/billing/portal', '409')).toEqual(['Retry-After', 'X-Request-Id']);
    expect(namesOf('PATCH /api/v1/auth/api-keys/{id}', '409')).toEqual(['X-Request-Id']);
    expect(namesOf('POST /api/v1/generate', '200')).toContain('Idempotency-Replayed');
    expect(namesOf('GET /api/v1/auth/usage/export', '200')).toContain('Content-Disposition');
    expect(namesOf('GET /api/v1/auth/forward', '204')).toContain('X-Api-Key-Id');
  });

  it('lets problems have members that clients do not know (RFC 9457, 3.2)', () => {
    expect(schemas.find(([name]) => name === 'Problem')?.[1]).not.toHaveProperty('additionalProperties');
  });

  it('describes every field and parameter, and gives an example of what to send', () => {
    const undescribed = schemas.flatMap(([name, schema]) =>
      fieldsOf(name, schema).filter(([, field]) => !field.description),
    );
    expect(undescribed.map(([path]) => path)).toEqual([]);
    const parameters = operations.flatMap(({ name, parameters: list = [] }) =>
      list.map((parameter) => ({ operation: name, ...parameter })),
    );
    expect(parameters.filter(({ description }) => !description)).toEqual([]);

    const bodies = operations.flatMap(
      ({ requestBody }) => requestBody?.content['application/json']?.schema.$ref ?? [],
    );
    expect(bodies.length).toBeGreaterThan(4);
    const sent = schemas.filter(([name]) => bodies.includes(`#/components/schemas/${name}`));
    const unshown = sent.flatMap(([name, schema]) =>
      fieldsOf(name, schema).filter(([, { example, properties }]) => example === undefined && !properties),
    );
    expect(unshown.map(([path]) => path)).toEqual([]);
  });

  /** Every field of a schema, also of what stands in it, by its path. */
  function fieldsOf(path: string, schema: Schema): [path: string, field: Schema][] {
    const own = Object.entries(schema.properties ?? {}).map(([name, field]): [string, Schema] => [
      `${path}.${name}`,
      field,
    ]);
    const nested = schema.items ? fieldsOf(`${path}[]`, schema.items) : [];
    return [...own, ...own.flatMap(([name, field]) => fieldsOf(name, field)), ...nested];
  }

  it('is shown at /docs by a page whose scripts and styles the browser may load', async () => {
    const page = await load('/docs');
    const { status, headers } = page;
    const text = await page.text();
    expect(status).toBe(200);
    expect(headers.get('content-type')).toMatch(/^text\/html/);
    expect(text).toContain('<meta name="viewport" content="width=device-width, initial-scale=1">');
    expect(text).toContain('<title>Cortex Memory Auth API</title>');
    const policy = headers.get('content-security-policy') ?? '';
    const allowed = (directive: string): string =>
      (new RegExp(`(?:^|;)\\s*${directive} ([^;]*)`).exec(policy) ??
        new RegExp('(?:^|;)\\s*default-src ([^;]*)').exec(policy))?.[1] ?? '';

    const scripts = [...text.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)];
    expect(scripts.length).toBeGreaterThan(1);
    const inline = scripts.filter(
      ([, attributes = '', code = '']) => !attributes.includes('src=') && code.trim() !== '',
    );
    if (!allowed('script-src').includes("'unsafe-inline'")) expect(inline).toEqual([]);
    expect(text).not.toMatch(/\son\w+\s*=\s*["']/);
    if (/<style|\sstyle=/.test(text)) expect(allowed('style-src')).toContain("'unsafe-inline'");
    expect(`${allowed('script-src')} ${allowed('style-src')} ${allowed('connect-src')}`).toContain("'self'");

    const assets = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(
      ([, address = '']) => new URL(address, `${t.url}/docs`),
    );
    expect(assets.length).toBeGreaterThan(3);
    expect(assets.filter(({ origin }) => origin !== new URL(t.url).origin)).toEqual([]);
    for (const { pathname } of assets) {
      const asset = await load(pathname);
      // The browser takes a script or a style of another type for none.
      const type = pathname.endsWith('.js')
        ? /javascript/
        : pathname.endsWith('.css')
          ? /^text\/css/
          : /^image\//;
      expect({ pathname, status: asset.status }).toEqual({ pathname, status: 200 });
      expect(asset.headers.get('content-type')).toMatch(type);
    }
  });

  it('is hidden with its page when the operator says so', async () => {
    const hidden = await startTestApp({ settings: { DOCS_ENABLED: 'false' } });
    try {
      expect((await hidden.http.get('/')).body).toEqual({
        message: 'Cortex Memory Auth API',
        version: '1.0.0',
      });
      for (const path of [
        '/docs',
        '/docs/',
        '/docs/swagger-ui.css',
        '/docs/swagger-ui-init.js',
        '/openapi.json',
        '/openapi.yaml',
        '/docs-json',
      ]) {
        expect({ path, status: (await hidden.http.get(path)).status }).toEqual({ path, status: 404 });
      }
    } finally {
      await hidden.close();
    }
  });
});
