import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OpenAPIObject } from '@nestjs/swagger';
import Ajv, { type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { Answer } from './http';

interface CheckedOperation {
  readonly pattern: RegExp;
  readonly method: string;
  readonly path: string;
  readonly responses: Map<string, Map<string, () => ValidateFunction>>;
}

declare global {
  /** Of the document, which is read and compiled once for all files of a worker. */
  var checkedOperations: CheckedOperation[] | undefined;
}

const DOCUMENT = join(__dirname, '../../docs/openapi.json');
/** Pages for people, which are not part of the API. */
const UNDOCUMENTED =
  /^\/(docs|dev|verify-email|not-me|confirm-email|undo-email|reset-password|stop-two-factor-reset|openapi)/;
const SECRET_FIELDS = /"(password|password_hash|passwordHash|key_hash|keyHash|stack|sql|query)":/;

/** What every answer is held against; the test of the document holds that against the service. */
function readOperations(): CheckedOperation[] {
  const document = JSON.parse(readFileSync(DOCUMENT, 'utf8')) as OpenAPIObject;
  // Most files see few of the answers, so each schema is compiled when it is first needed, and shared ones once.
  const ajv = new Ajv({ strict: false, allErrors: true, inlineRefs: false, validateSchema: false });
  addFormats(ajv);
  // Clients must bear members that they do not know; this service sends none that are not documented.
  const { schemas, ...others } = document.components ?? {};
  const Problem = { ...schemas?.['Problem'], additionalProperties: false };
  ajv.addSchema({ $id: 'api', components: { ...others, schemas: { ...schemas, Problem } } });
  const compile = (schema: object): (() => ValidateFunction) => {
    let compiled: ValidateFunction | undefined;
    return () => (compiled ??= ajv.compile(withRefsInto('api', schema)));
  };

  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(
      methods as Record<
        string,
        { responses: Record<string, { content?: Record<string, { schema: object }> }> }
      >,
    ).map(([method, { responses }]) => ({
      path,
      method: method.toUpperCase(),
      pattern: new RegExp(`^${path.replace(/\{[^}]+\}/g, '[^/]+')}$`),
      responses: new Map(
        Object.entries(responses).map(([status, { content = {} }]) => [
          status,
          new Map(Object.entries(content).map(([type, { schema }]) => [type, compile(schema)])),
        ]),
      ),
    })),
  );
}

function withRefsInto(id: string, schema: object): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components', `"${id}#/components`)) as object;
}

/** @throws Error when an answer is not one the document allows, or shows what no answer may show. */
export function checkAnswer(method: string, path: string, { status, headers, text, body }: Answer): void {
  if (SECRET_FIELDS.test(text))
    throw new Error(`${method} ${path} answered with a field that must never leave: ${text}`);
  if (UNDOCUMENTED.test(path)) return;
  const operations = (globalThis.checkedOperations ??= readOperations());
  const type = (headers.get('content-type') ?? '').split(';')[0] ?? '';
  const operation = operations.find(
    (candidate) => candidate.method === method && candidate.pattern.test(path),
  );
  if (!operation) {
    if (![400, 404, 414].includes(status) && method !== 'OPTIONS' && method !== 'HEAD') {
      throw new Error(`${method} ${path} is not documented, but answered ${status}.`);
    }
    return;
  }
  const response = operation.responses.get(String(status));
  if (!response)
    throw new Error(
      `${method} ${operation.path} answered ${status}, which is not documented: ${text.slice(0, 500)}`,
    );
  // Documented without a body, and without one.
  if (response.size === 0 && text === '') return;
  const validator = response.get(type);
  if (!validator)
    throw new Error(`${method} ${operation.path} answered ${status} as "${type}", which is not documented.`);
  const validate = validator();
  if (!validate(/json/.test(type) ? body : text)) {
    throw new Error(
      `${method} ${operation.path} answered ${status} with a body that is not as documented: ${JSON.stringify(validate.errors)} in ${text.slice(0, 500)}`,
    );
  }
  if (type === 'application/problem+json' && (body as { status: number }).status !== status)
    throw new Error('The problem names another status.');
}
