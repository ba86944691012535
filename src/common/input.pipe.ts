import { type ArgumentMetadata, Injectable, type ValidationError, ValidationPipe } from '@nestjs/common';
import type { FieldError } from './api-error';
import { CommonErrors } from './common.errors';
import { acceptCompiled } from './compiled-input';

const DEPTH_MAX = 32;
/**
 * Names that mean something to every object: class-transformer skips them, and an empty object may mean more than the
 * one that was sent.
 */
const POISONED_NAMES = new Set([...Object.getOwnPropertyNames(Object.prototype), 'prototype']);

/**
 * Checks input against its DTO: unknown fields are refused, and so is what would fail or change on its way into
 * PostgreSQL or JavaScript objects: nesting deeper than 32, NUL characters, lone surrogates, names such as `__proto__`.
 * @throws ApiError `validation_failed`, naming every wrong field.
 */
@Injectable()
export class InputPipe extends ValidationPipe {
  constructor() {
    super({
      whitelist: true,
      forbidNonWhitelisted: true,
      transform: true,
      stopAtFirstError: true,
      exceptionFactory: (errors) =>
        CommonErrors.validationFailed.with({ errors: errors.flatMap((error) => fieldErrors(error)) }),
    });
  }

  override async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    if (metadata.type === 'custom') return value;
    const fault = findFault(value);
    if (fault)
      throw CommonErrors.validationFailed.with({ errors: [{ field: fault.field, message: fault.message }] });
    if (metadata.type === 'body' && value !== undefined && !isPlainObject(value)) {
      throw CommonErrors.validationFailed.with({
        errors: [{ field: '', message: 'the body must be a JSON object' }],
      });
    }
    return acceptCompiled(metadata.metatype, value) ?? (await super.transform(value, metadata));
  }
}

/** The first thing in a parsed value that must not reach the database, or undefined. */
export function findFault(value: unknown): FieldError | undefined {
  const stack: { value: unknown; field: string; depth: number }[] = [{ value, field: '', depth: 0 }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const { value: current, field, depth } = next;
    if (typeof current === 'string') {
      if (!isStorableText(current))
        return { field, message: 'must be well-formed text without NUL characters' };
    } else if (typeof current === 'object' && current !== null) {
      if (depth >= DEPTH_MAX)
        return { field: field.slice(0, 100), message: `must not be nested deeper than ${DEPTH_MAX}` };
      for (const [name, child] of Object.entries(current)) {
        if (POISONED_NAMES.has(name))
          return { field: field || name, message: `must not have a field named ${name}` };
        if (!isStorableText(name))
          return { field, message: 'must have well-formed field names without NUL characters' };
        stack.push({ value: child, field: field ? `${field}.${name}` : name, depth: depth + 1 });
      }
    }
  }
  return undefined;
}

/** PostgreSQL refuses NUL in text, and stores a lone surrogate as another character. */
function isStorableText(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fieldErrors({ property, value, constraints, children }: ValidationError, path = ''): FieldError[] {
  const field = path ? `${path}.${property}` : property;
  const own = Object.entries(constraints ?? {}).map(([rule, message]) => {
    if (rule === 'whitelistValidation') return { field, message: 'is not a field of this request' };
    return { field, message: value === undefined ? 'is required' : message };
  });
  return [...own, ...(children ?? []).flatMap((child) => fieldErrors(child, field))];
}
