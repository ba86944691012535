import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import { v7 as uuidv7 } from 'uuid';
import { pageDto, pageOf, PageQueryDto, pageRequest } from './pagination';

const rows = Array.from({ length: 5 }, () => ({ id: uuidv7() }));
const read = (query: object): PageQueryDto => plainToInstance(PageQueryDto, query);

describe('a paged list', () => {
  it('names the last row it shows in the cursor, and the next page begins behind it', () => {
    const page = pageOf(rows.slice(0, 3), { limit: 2, before: null });
    expect(page.rows).toEqual(rows.slice(0, 2));
    const next = pageRequest(read({ cursor: page.cursor, limit: '2' }));
    expect(next).toEqual({ limit: 2, before: rows[1]?.id });
    expect(pageDto(page, ({ id }) => id)).toEqual({
      data: rows.slice(0, 2).map(({ id }) => id),
      pagination: { cursor: page.cursor, has_more: true },
    });
  });

  it.each([0, 1, 2])('has no next page when %i of at most two rows are there', (count) => {
    const page = pageOf(rows.slice(0, count), { limit: 2, before: null });
    expect(pageDto(page, ({ id }) => id).pagination).toEqual({ cursor: null, has_more: false });
  });

  it('begins with the first page, of twenty, when nothing is asked for', () => {
    expect(pageRequest(read({}))).toEqual({ limit: 20, before: null });
  });

  it.each(['1', '100', '007'])('takes the limit %p', (limit) => {
    expect(validateSync(read({ limit }))).toEqual([]);
    expect(pageRequest(read({ limit })).limit).toBe(Number(limit));
  });

  it.each(['0', '101', '-1', '1.5', '1e1', '0x10', ' 5', '', 'all', ['1', '2'], '9'.repeat(30)])(
    'refuses the limit %p',
    (limit) => {
      expect(validateSync(read({ limit })).map(({ property }) => property)).toEqual(['limit']);
    },
  );

  it.each([
    '',
    'x',
    '_'.repeat(22),
    'AZqfDnw6e36dVQ6PWhwrPR',
    'AZqfDnw6e36dVQ6PWhwrPQ==',
    uuidv7(),
    ['a', 'b'],
  ])('refuses the cursor %p', (cursor) => {
    expect(validateSync(read({ cursor })).map(({ property }) => property)).toEqual(['cursor']);
  });
});
