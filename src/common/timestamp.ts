import { registerDecorator } from 'class-validator';

const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/** Whether a text is an RFC 3339 date-time with its zone, and names a moment that exists. */
export function isTimestamp(value: unknown): boolean {
  if (typeof value !== 'string' || !RFC_3339.test(value) || Number.isNaN(Date.parse(value))) return false;
  // Date rolls February 30 over into March instead of refusing it.
  const [year = 0, month = 0, day = 0] = value.slice(0, 10).split('-').map(Number);
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
}

/** A DTO field that takes an RFC 3339 date-time with a time zone. */
export function IsTimestamp(): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name: 'isTimestamp',
      target: target.constructor,
      propertyName: property as string,
      validator: {
        validate: isTimestamp,
        defaultMessage: () => 'must be an RFC 3339 date and time with its zone, such as 2030-01-01T00:00:00Z',
      },
    });
  };
}
