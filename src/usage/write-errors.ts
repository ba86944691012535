import { QueryFailedError } from 'typeorm';

/** PostgreSQL classes 22 (data exception) and 23 (constraint violation): the statement, not the server, is at fault. */
export function isDataError(error: unknown): boolean {
  return /^2[23]/.test(driverError(error).code ?? '');
}

/** A violated check without a name: no part of the table takes a line of this month. */
export function isPartitionMissing(error: unknown): boolean {
  const { code, constraint } = driverError(error);
  return code === '23514' && constraint === undefined;
}

/** A line has a name that another one has: somebody has written it, say for a process that was taken for dead. */
export function isThereAlready(error: unknown): boolean {
  return driverError(error).code === '23505';
}

function driverError(error: unknown): { code?: string; constraint?: string } {
  return error instanceof QueryFailedError
    ? (error.driverError as { code?: string; constraint?: string })
    : {};
}
