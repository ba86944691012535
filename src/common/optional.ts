import { ValidateIf } from 'class-validator';

/** A DTO field that may be left out. Unlike `IsOptional`, null is not the same as absent: it is validated, and refused. */
export const Optional = (): PropertyDecorator => ValidateIf((_dto, value) => value !== undefined);
