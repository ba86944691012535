import { applyDecorators } from '@nestjs/common';
import { ApiExtension } from '@nestjs/swagger';
import type { ErrorFactory } from './api-error';

/** Name of the extension that carries error codes from the decorators to `openapi.ts`, which spells them out and drops it. */
export const PROBLEMS_EXTENSION = 'x-problems';

/**
 * Documents the errors a route can answer with: each becomes an example under its status in the OpenAPI document.
 * Those of every route (validation, rate limit, internal) are added by `openapi.ts`.
 */
export function ApiProblems(
  ...errors: readonly Pick<ErrorFactory<never>, 'definition'>[]
): MethodDecorator & ClassDecorator {
  return applyDecorators(
    ...errors.map(({ definition }) => ApiExtension(`${PROBLEMS_EXTENSION}-${definition.code}`, true)),
  );
}
