import { ValidatorConstraint, type ValidatorConstraintInterface } from 'class-validator';

/** What others call what they have done. */
export const OPERATION = /^[A-Za-z][A-Za-z0-9_.:-]{0,63}$/;
export const OPERATION_RULE =
  'must be a name of 1 to 64 letters, digits and _ . : - that begins with a letter, such as memory.search';
export const METADATA_BYTES_MAX = 4_096;

@ValidatorConstraint({ name: 'boundedJson' })
export class BoundedJson implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    return Buffer.byteLength(JSON.stringify(value)) <= METADATA_BYTES_MAX;
  }

  defaultMessage(): string {
    return `must be at most ${METADATA_BYTES_MAX} bytes of JSON`;
  }
}
