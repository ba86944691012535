import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { errorCatalogue, type ErrorDefinition } from './common/api-error';
import { CommonErrors } from './common/common.errors';
import { PROBLEMS_EXTENSION } from './common/problem-docs';
import { SERVICE_TITLE, VERSION } from './common/version';
import { LimitErrors } from './limits/limits.errors';
import { TwoFactorErrors } from './two-factor/two-factor.errors';

type SchemaObject = Exclude<
  NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string],
  { $ref: string }
>;
type Operation = NonNullable<OpenAPIObject['paths'][string]['get']> & Record<string, unknown>;
type Schema = { type?: string; properties?: object; additionalProperties?: unknown };

const DESCRIPTION = `Sign-up, API keys, limits, metering and billing for an API.

**People** log in and send \`Authorization: Bearer <access token>\`. **Backends** send \`X-API-Key: <key>\`, or the key as bearer token.
Errors are \`application/problem+json\` (RFC 9457); \`code\` tells them apart and is part of the API, texts may change.
Answers carry \`RateLimit-Policy\` and \`RateLimit\`; wait as long as \`Retry-After\` says.`;

/** The OpenAPI document of the running application: for `/docs`, `/openapi.json` and its committed copy. */
export function buildOpenApi(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle(SERVICE_TITLE)
    .setVersion(VERSION)
    .setDescription(DESCRIPTION)
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
    .addServer('/', 'This service')
    .addBearerAuth(
      { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'The access_token of a log-in.' },
      'access_token',
    )
    .addApiKey({ type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key.' }, 'api_key')
    .addBearerAuth(
      {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'ctx_live_...',
        description: 'An API key, sent as bearer token.',
      },
      'api_key_as_bearer',
    )
    .addTag('Account', 'Sign-up, log-in and profile.')
    .addTag('Sessions', 'Where you are logged in.')
    .addTag('Password', 'Changing and resetting it.')
    .addTag('Two-factor authentication', 'A second factor: codes of an app, and backup codes.')
    .addTag('API keys', 'Keys for backends.')
    .addTag('Usage', 'What was used and what it cost.')
    .addTag('Billing', 'Plans, payment and what happened to them.')
    .addTag('Gateway', 'For proxies, backends and SDKs in front of which this service stands.')
    .addTag('Generate', 'The metered API.')
    .addTag('Admin', 'For admins: accounts and the audit log.')
    .addTag('Health', 'For balancers and monitors.')
    .build();
  const document = SwaggerModule.createDocument(app, config, {
    operationIdFactory: (controller, method) => `${controller.replace(/Controller$/, '')}_${method}`,
  });
  const schemas = { ...document.components?.schemas, Problem: problemSchema };
  document.components = { ...document.components, schemas };
  for (const schema of Object.values(schemas)) closeObject(schema as Schema);
  for (const path of Object.values(document.paths)) {
    for (const [method, operation] of Object.entries(path) as [string, Operation][]) {
      // Public, as said outright: no credential is asked for.
      operation.security ??= [];
      documentProblems(method, operation);
    }
  }
  return document;
}

const problemSchema: SchemaObject = {
  type: 'object',
  description: 'An error (RFC 9457).',
  required: ['type', 'title', 'status', 'detail', 'code', 'request_id'],
  properties: {
    type: { type: 'string', description: 'A URN that names the kind of error.' },
    title: { type: 'string', description: 'The kind of error, in words.' },
    status: { type: 'integer', description: 'The HTTP status.' },
    detail: { type: 'string', description: 'What happened and what to do now.' },
    code: { type: 'string', description: 'Stable name of the error, to be compared by programs.' },
    request_id: { type: 'string', description: 'Quote it when you ask about this answer.' },
    challenge_token: {
      type: 'string',
      description: 'With `two_factor_required`: for the second step of the log-in, within 5 minutes.',
    },
    errors: {
      type: 'array',
      description: 'Each wrong field of the input.',
      items: {
        type: 'object',
        required: ['field', 'message'],
        additionalProperties: false,
        properties: {
          field: { type: 'string', description: 'Path of the field.' },
          message: { type: 'string', description: 'What is wrong with it.' },
        },
      },
    },
    violated_policies: {
      type: 'array',
      description: 'The rate limits that are used up, as `RateLimit-Policy` names them.',
      items: { type: 'string' },
    },
  },
};

/** What is not documented is not accepted and not answered. */
function closeObject(schema: Schema): void {
  if (schema.type === 'object' && schema.properties) schema.additionalProperties ??= false;
}

/** Spells the errors of an operation out: those it names and those any route has, by status, each with its code as an example. */
function documentProblems(method: string, operation: Operation): void {
  const byStatus = Map.groupBy(problemsOf(method, operation), ({ status }) => status);
  for (const [status, definitions] of byStatus) {
    if (operation.responses[String(status)]) continue;
    operation.responses[String(status)] = {
      description: definitions.map(({ title }) => title).join('; '),
      content: {
        'application/problem+json': {
          schema: { $ref: '#/components/schemas/Problem' },
          examples: Object.fromEntries(
            definitions.map((definition) => [definition.code, { value: exampleOf(definition) }]),
          ),
        },
      },
    };
  }
}

function problemsOf(method: string, operation: Operation): ErrorDefinition[] {
  const named = Object.keys(operation).filter((key) => key.startsWith(`${PROBLEMS_EXTENSION}-`));
  const codes = new Set(named.map((key) => key.slice(PROBLEMS_EXTENSION.length + 1)));
  for (const key of named) Reflect.deleteProperty(operation, key);

  const everywhere = [CommonErrors.malformedRequest, CommonErrors.internal, CommonErrors.unavailable];
  const withInput = [CommonErrors.validationFailed];
  const withBody = [CommonErrors.payloadTooLarge, CommonErrors.unsupportedMediaType];
  for (const { definition } of everywhere) codes.add(definition.code);
  if (!operation.tags?.includes('Health')) codes.add(LimitErrors.rateLimited.definition.code);
  if (operation.requestBody ?? operation.parameters?.length)
    for (const { definition } of withInput) codes.add(definition.code);
  // A body is read, and refused, also where none is asked for.
  if (method !== 'get') for (const { definition } of withBody) codes.add(definition.code);
  if (operation.parameters?.some((parameter) => 'in' in parameter && parameter.in === 'path')) {
    codes.add(CommonErrors.uriTooLong.definition.code);
  }
  return errorCatalogue().filter(({ code }) => codes.has(code));
}

function exampleOf({ code, status, title, detail }: ErrorDefinition): object {
  const text = typeof detail === 'string' ? detail : title;
  return {
    type: `urn:problem-type:cortex-auth:${code}`,
    title,
    status,
    detail: text,
    code,
    request_id: '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d',
    ...(code === TwoFactorErrors.required.definition.code && {
      challenge_token: '1795315044619.019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d.c2lnbmF0dXJl',
    }),
    ...(code === CommonErrors.validationFailed.definition.code && {
      errors: [{ field: 'email', message: 'must be an e-mail address such as name@example.com' }],
    }),
    ...(code === LimitErrors.rateLimited.definition.code && { violated_policies: ['api-key'] }),
  };
}
