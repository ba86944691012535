import { readFileSync } from 'node:fs';
import addFormats from 'ajv-formats';
import Ajv, { type ValidateFunction } from 'ajv/dist/2020';
import { requestSchemas } from './request-schemas';

/** Names Polar's own OpenAPI 3.1 document, where there is one: requests are held against it too. */
const DOCUMENT_VARIABLE = 'POLAR_OPENAPI';

interface Document {
  readonly components: object;
  readonly paths: Record<
    string,
    Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>
  >;
}

interface Contract {
  readonly method: string;
  readonly pattern: RegExp;
  readonly check: ValidateFunction;
}

const contracts = [...ofOurs(), ...ofDocument()];

/** What is wrong with a request's body, by our schemas and by Polar's document; a body that no schema knows is wrong too. */
export function requestFaults(method: string, path: string, body: unknown): string[] {
  const checks = contracts.filter((one) => one.method === method && one.pattern.test(path));
  if (checks.length === 0 && body !== undefined)
    return [`${method} ${path} takes no body that is known here`];
  return checks
    .filter(({ check }) => !check(body))
    .map(({ check }) => `${method} ${path}: ${JSON.stringify(check.errors)} in ${JSON.stringify(body)}`);
}

function ofOurs(): Contract[] {
  const ajv = withFormats();
  return Object.entries(requestSchemas).map(([name, schema]) => {
    const [method = '', path = ''] = name.split(' ');
    return { method, pattern: patternOf(path), check: ajv.compile(schema) };
  });
}

function ofDocument(): Contract[] {
  const file = process.env[DOCUMENT_VARIABLE];
  if (!file) return [];
  const { components, paths } = JSON.parse(readFileSync(file, 'utf8')) as Document;
  const ajv = withFormats();
  ajv.addSchema({ $id: 'polar', components });
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { requestBody }]) => {
      const schema = requestBody?.content['application/json']?.schema;
      if (!schema) return [];
      const resolved = JSON.stringify(schema).replaceAll('"#/components', '"polar#/components');
      const check = ajv.compile(JSON.parse(resolved) as object);
      return [{ method: method.toUpperCase(), pattern: patternOf(path), check }];
    }),
  );
}

function withFormats(): Ajv {
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats(ajv);
  return ajv;
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replace(/\{[^}]*\}/g, '[^/]+')}$`);
}
