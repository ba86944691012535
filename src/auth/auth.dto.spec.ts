import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import { RegisterDto } from './auth.dto';

/** Its canonical form takes time that is quadratic in its length: seconds, at the size of a whole body. */
const SLOW = `a${'\u035d'.repeat(16_000)}${'\u0316'.repeat(16_000)}`;

it.each(['email', 'password'])('makes no Unicode form of a field that is too long: %s', (field) => {
  const normalize = jest.spyOn(String.prototype, 'normalize');
  const body = { email: 'user@example.com', password: 'a good passphrase', [field]: SLOW };
  const faults = validateSync(plainToInstance(RegisterDto, body));
  const lengths = normalize.mock.contexts.map((text) => String(text).length);
  normalize.mockRestore();
  expect(faults.map(({ property }) => property)).toEqual([field]);
  expect(lengths.length).toBeGreaterThan(0);
  expect(Math.max(...lengths)).toBeLessThan(1_025);
});
