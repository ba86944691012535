import { registerDecorator } from 'class-validator';

const NAME_LENGTH_MAX = 64;

/** How large a map may be. */
export interface MapBounds {
  readonly entriesMax: number;
  /** Of each value, when they are texts. */
  readonly lengthMax?: number;
}

/** A DTO field that takes an object as a map: short names, each with a value of one type. */
export function IsMapOf(
  type: 'boolean' | 'string',
  { entriesMax, lengthMax = Infinity }: MapBounds,
): PropertyDecorator {
  const values = lengthMax === Infinity ? type : `${type} of at most ${lengthMax} characters`;
  return (target, property) => {
    registerDecorator({
      name: 'isMapOf',
      target: target.constructor,
      propertyName: property as string,
      validator: {
        validate: (value: unknown) =>
          isPlainObject(value) &&
          Object.keys(value).length <= entriesMax &&
          Object.entries(value).every(
            ([name, item]) =>
              name.length <= NAME_LENGTH_MAX && typeof item === type && String(item).length <= lengthMax,
          ),
        defaultMessage: () => `must be an object of at most ${entriesMax} names, each with a ${values}`,
      },
    });
  };
}

function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
