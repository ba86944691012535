import type { OpenAPIObject } from '@nestjs/swagger';
import Ajv, { type ValidateFunction } from 'ajv';
import { v7 as uuidv7 } from 'uuid';
import { buildOpenApi } from '../../src/openapi';
import { AuditSealer } from '../../src/platform/audit/audit-sealer';
import type { Sent } from './http';
import type { TestApp } from './test-app';

/** Who a route of the document is for. */
export type RouteAccess = 'public' | 'user' | 'admin' | 'api_key';

/** A schema of the document, with its references followed. */
export interface FieldSchema {
  readonly type?: string;
  readonly format?: string;
  readonly example?: unknown;
  readonly enum?: readonly unknown[];
  readonly items?: FieldSchema;
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly required?: readonly string[];
}

/** One input of a route. */
export interface RouteField {
  readonly in: 'body' | 'query' | 'path' | 'header';
  readonly name: string;
  readonly required: boolean;
  readonly schema: FieldSchema;
}

/** One operation of the document. */
export interface Route {
  /** As in `POST /api/v1/auth/login`. */
  readonly name: string;
  readonly method: string;
  /** With its parameters in braces. */
  readonly path: string;
  readonly access: RouteAccess;
  readonly fields: readonly RouteField[];
  readonly takesBody: boolean;
  /** Whether only keys with a permission may call it. */
  readonly needsPermission: boolean;
  /** The codes of the errors it documents. */
  readonly problems: readonly string[];
  /** Whether the document allows this as its body. */
  allowsBody(body: unknown): boolean;
}

interface Operation {
  readonly 'x-permission'?: string;
  readonly security?: readonly Record<string, unknown>[];
  readonly parameters?: readonly {
    in: 'query' | 'path' | 'header';
    name: string;
    required?: boolean;
    schema: FieldSchema;
  }[];
  readonly requestBody?: { content: Record<string, { schema: object }> };
  readonly responses: Record<string, { content?: Record<string, { examples?: object }> }>;
}

/** Every route of the running application, as its OpenAPI document lists them: a new one is tested without a further word. */
export function routesOf({ app }: Pick<TestApp, 'app'>): Route[] {
  const document = buildOpenApi(app);
  // Formats are left out: what makes an address or a moment is the validators' to say, and they take more spellings.
  const ajv = new Ajv({ strict: false, validateFormats: false });
  ajv.addSchema({ $id: 'api', components: document.components });
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Operation>).map(([method, operation]) =>
      routeOf(document, ajv, path, method.toUpperCase(), operation),
    ),
  );
}

function routeOf(
  document: OpenAPIObject,
  ajv: Ajv,
  path: string,
  method: string,
  operation: Operation,
): Route {
  const bodySchema = operation.requestBody?.content['application/json']?.schema;
  const body = bodySchema && follow(document, bodySchema);
  const validate: ValidateFunction | undefined =
    bodySchema &&
    ajv.compile(
      JSON.parse(JSON.stringify(bodySchema).replaceAll('"#/components', '"api#/components')) as object,
    );
  const parameters = (operation.parameters ?? []).map(
    ({ in: where, name, required = false, schema }): RouteField => ({ in: where, name, required, schema }),
  );
  const bodyFields = Object.entries(body?.properties ?? {}).map(([name, schema]): RouteField => ({
    in: 'body',
    name,
    required: !!body?.required?.includes(name),
    schema,
  }));
  return {
    name: `${method} ${path}`,
    method,
    path,
    access: accessOf(path, operation),
    fields: [...parameters, ...bodyFields],
    takesBody: body !== undefined,
    needsPermission: operation['x-permission'] !== undefined,
    problems: Object.values(operation.responses).flatMap(({ content }) =>
      Object.keys(content?.['application/problem+json']?.examples ?? {}),
    ),
    allowsBody: (value) => validate === undefined || validate(value),
  };
}

function accessOf(path: string, { security = [] }: Operation): RouteAccess {
  const schemes = security.flatMap((requirement) => Object.keys(requirement));
  if (schemes.length === 0) return 'public';
  if (schemes.includes('api_key')) return 'api_key';
  return path.startsWith('/api/v1/admin/') ? 'admin' : 'user';
}

function follow(document: OpenAPIObject, schema: object): FieldSchema {
  const name = '$ref' in schema ? String(schema.$ref).replace('#/components/schemas/', '') : undefined;
  if (name === undefined) return schema;
  const found = document.components?.schemas?.[name];
  if (!found) throw new Error(`The document has no schema ${name}.`);
  return follow(document, found);
}

/** A value the document gives as an example of the field, else one of its type. */
function exampleOf({ example, enum: choices, type, format, items, properties }: FieldSchema): unknown {
  if (example !== undefined) return example;
  if (choices) return choices[0];
  if (format === 'uuid') return uuidv7();
  if (type === 'array') return items ? [exampleOf(items)] : [];
  if (type === 'object')
    return Object.fromEntries(
      Object.entries(properties ?? {}).map(([name, schema]) => [name, exampleOf(schema)]),
    );
  return type === 'integer' || type === 'number' ? 1 : type === 'boolean' ? true : 'text';
}

/** A body that the route accepts: the examples of the document, with an e-mail address nobody else has. */
export function exampleBody({ fields }: Route, t: Pick<TestApp, 'make'>): Record<string, unknown> {
  return Object.fromEntries(
    fields
      .filter((field) => field.in === 'body')
      .map(({ name, schema }) => [name, schema.format === 'email' ? t.make.email() : exampleOf(schema)]),
  );
}

/** The path with its parameters put in as they are; without one, a random UUID stands in. */
export function pathOf(
  { path }: Pick<Route, 'path'>,
  parameters: Readonly<Record<string, string>> = {},
): string {
  return path.replace(/\{([^}]+)\}/g, (_match, name: string) => parameters[name] ?? uuidv7());
}

/** Hands out credentials so that no limit is ever met: a shared user serves five requests, the one key any number. */
export class Callers {
  private static readonly REQUESTS_PER_USER = 5;
  private readonly users = new Map<string, Promise<{ token: string }>>();
  private readonly served = { user: 0, admin: 0 };
  private key: Promise<{ key: string }> | undefined;

  constructor(private readonly t: Pick<TestApp, 'make'>) {}

  /**
   * What to send so that a route's guard lets the request in; nothing for a public route.
   * @param isOwn for a user whom no other request speaks for.
   */
  async credential({ access }: Pick<Route, 'access'>, isOwn = false): Promise<Pick<Sent, 'bearer' | 'key'>> {
    if (access === 'public') return {};
    if (access === 'api_key') return { key: (await (this.key ??= this.makeKey())).key };
    const name = isOwn
      ? uuidv7()
      : `${access} ${Math.floor(this.served[access]++ / Callers.REQUESTS_PER_USER)}`;
    const user = this.users.get(name) ?? this.t.make.user({ role: access, tierOverride: 'internal' });
    this.users.set(name, user);
    return { bearer: (await user).token };
  }

  private async makeKey(): Promise<{ key: string }> {
    const owner = await this.t.make.user({ tierOverride: 'internal' });
    const servicePermissions = ['keys:verify', 'usage:write'];
    return this.t.make.apiKey({ userId: owner.id, rateLimitPerMinute: 1_000_000, servicePermissions });
  }
}

/** Does the work for every item, `width` at a time, and keeps the order. */
export async function inBatches<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
  width = 24,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i] as Item);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

/** A digest of every row of every table: two are equal when nothing stored has changed in between. */
export async function storedState({ app, db }: Pick<TestApp, 'app' | 'db'>): Promise<Record<string, string>> {
  // Else it would come in between, and change what nobody else did.
  await app.get(AuditSealer, { strict: false }).seal();
  const tables = await db.query<{ name: string }[]>(
    `SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`,
  );
  const state: Record<string, string> = {};
  for (const { name } of tables) {
    const sql = [
      'SELECT count(*) || coalesce(md5(string_agg(row, chr(10) ORDER BY row)), $1) AS digest',
      // When a key was last used is written behind the answer, also when the request was refused for something else.
      `FROM (SELECT (to_jsonb(t) - 'last_used')::text AS row FROM`,
      name,
      't) AS rows',
    ];
    const [row] = await db.query<{ digest: string }[]>(sql.join(' '), [' empty']);
    state[name] = row?.digest ?? '';
  }
  return state;
}
