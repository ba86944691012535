import { isTimestamp } from './timestamp';

it.each([
  '2030-01-01T00:00:00Z',
  '2030-01-01t00:00:00.123456789z',
  '2028-02-29T23:59:59+05:45',
  '1999-12-31 23:59:59-00:00',
])('takes %s', (text) => {
  expect(isTimestamp(text)).toBe(true);
});

it.each([
  '2030-01-01',
  '2030-01-01T00:00:00',
  '2030-W01',
  '2030-02-30T00:00:00Z',
  '2030-13-01T00:00:00Z',
  '2030-01-01T25:00:00Z',
  '+020300-01-01T00:00:00Z',
  'tomorrow',
  1_900_000_000,
  null,
])('refuses %p', (value) => {
  expect(isTimestamp(value)).toBe(false);
});
