import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { BillingErrors } from './billing/billing.errors';
import { errorCatalogue, type ErrorDefinition } from './common/api-error';
import { CommonErrors } from './common/common.errors';
import { PROBLEMS_EXTENSION } from './common/problem-docs';
import { SERVICE_TITLE, VERSION } from './common/version';
import { LimitErrors } from './limits/limits.errors';
import { IdempotencyErrors } from './platform/idempotency/idempotency.errors';
import { TwoFactorErrors } from './two-factor/two-factor.errors';

type SchemaObject = Exclude<
  NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string],
  { $ref: string }
>;
type HeaderObject = Exclude<
  NonNullable<NonNullable<OpenAPIObject['components']>['headers']>[string],
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
    .addTag('Authentication', 'Sign-up and log-in.')
    .addTag('Account', 'Proof of the address, profile, export and deletion.')
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
  document.components.headers = headers;
  for (const [name, schema] of Object.entries(schemas)) {
    // Whoever reads a problem must ignore members that it does not know (RFC 9457, 3.2).
    if (name !== 'Problem') closeObject(schema as Schema);
  }
  for (const path of Object.values(document.paths)) {
    for (const [method, operation] of Object.entries(path) as [string, Operation][]) {
      // Public, as said outright: no credential is asked for.
      operation.security ??= [];
      documentProblems(method, operation);
      documentHeaders(operation);
    }
  }
  return document;
}

const textHeader = (description: string, example: string): HeaderObject => ({
  description,
  schema: { type: 'string' },
  example,
});

const ID = '019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d';

/** The headers that answers of many routes have. */
const headers: Record<string, HeaderObject> = {
  'X-Request-Id': textHeader('Id of the answer: quote it when you ask about it.', ID),
  'RateLimit-Policy': textHeader(
    'The limits that this request fell under: their number of places and seconds (IETF draft).',
    '"api-key";q=100;w=60',
  ),
  RateLimit: textHeader(
    'What is left of each, and the seconds until the next place frees (IETF draft).',
    '"api-key";r=99;t=60',
  ),
  'Retry-After': {
    description: 'Seconds to wait before the next try (RFC 9110, 10.2.3).',
    schema: { type: 'integer' },
    example: 12,
  },
  'WWW-Authenticate': textHeader(
    'How to authenticate; with `error` when the credential that was sent is refused (RFC 6750, 3).',
    'Bearer realm="cortex-auth", error="invalid_token"',
  ),
  'Idempotency-Replayed': textHeader(
    '`true` when this is the answer to an earlier request with the same key.',
    'true',
  ),
  'Content-Disposition': textHeader('The name to save it by.', 'attachment; filename="usage.csv"'),
};

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

/** Conflicts that pass by themselves, and say when to ask again. */
const passingConflicts = [
  IdempotencyErrors.stillRunning,
  BillingErrors.checkoutBusy,
  BillingErrors.noCustomer,
].map(({ definition }) => definition.code);

/** Says which of the common headers each answer may have. */
function documentHeaders({ responses, parameters = [] }: Operation): void {
  const isLimited = responses['429'] !== undefined;
  const isRepeatable = parameters.some((one) => 'name' in one && one.name === 'Idempotency-Key');
  for (const [status, response] of Object.entries(responses)) {
    if (!response || '$ref' in response) continue;
    const isSuccess = status.startsWith('2');
    const examples = response.content?.['application/problem+json']?.examples ?? {};
    const mayTellWhen = ['429', '503'].includes(status) || passingConflicts.some((code) => code in examples);
    const names = [
      'X-Request-Id',
      ...(isLimited && (isSuccess || status === '429') ? ['RateLimit-Policy', 'RateLimit'] : []),
      ...(mayTellWhen ? ['Retry-After'] : []),
      ...(status === '401' ? ['WWW-Authenticate'] : []),
      ...(isSuccess && isRepeatable ? ['Idempotency-Replayed'] : []),
    ];
    const references = names.map((name) => [name, { $ref: `#/components/headers/${name}` }] as const);
    response.headers = { ...Object.fromEntries(references), ...response.headers };
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

function exampleOf({ code, status, title, detail, sample = [] as never }: ErrorDefinition): object {
  const text =
    typeof detail === 'string'
      ? detail
      : (detail as (...args: unknown[]) => string)(...(sample as unknown[]));
  return {
    type: `urn:problem-type:cortex-auth:${code}`,
    title,
    status,
    detail: text,
    code,
    request_id: ID,
    ...(code === TwoFactorErrors.required.definition.code && {
      challenge_token: '1795315044619.019a9f0e-7c3a-7b7e-9d55-0e8f5a1c2b3d.c2lnbmF0dXJl',
    }),
    ...(code === CommonErrors.validationFailed.definition.code && {
      errors: [{ field: 'email', message: 'must be an e-mail address such as name@example.com' }],
    }),
    ...(code === LimitErrors.rateLimited.definition.code && { violated_policies: ['api-key'] }),
  };
}
