import { QueryFailedError } from 'typeorm';
import { toApiError } from './problem.filter';

describe('what a failing database is to a client', () => {
  it.each([
    ['one of two transactions that waited for each other was given up', '40P01', 503, 1],
    ['one of two transactions could not be put in order', '40001', 503, 1],
    ['a value is not unique', '23505', 500, undefined],
  ])('%s: %s is %d', (_what, code, status, retryAfterSeconds) => {
    const error = new QueryFailedError('SELECT 1', [], Object.assign(new Error('no'), { code }));
    expect(toApiError(error)).toMatchObject({ status, retryAfterSeconds });
  });
});
