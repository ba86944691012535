import { passwordFault } from './password-policy';

const EMAIL = 'ada.lovelace@example.com';

it.each(['password', 'Password123', '12345678', 'QWERTYUIOP', 'trustno1', 'iloveyou'])(
  'refuses the common password %s',
  (password) => {
    expect(passwordFault(password, EMAIL)).toContain('most common');
  },
);

it.each([EMAIL, 'ada.lovelace', 'Ada.Lovelace', EMAIL.toUpperCase()])(
  "refuses %s, the user's address or its first part",
  (password) => {
    expect(passwordFault(password, EMAIL)).toContain('e-mail address');
  },
);

it.each(['CortexAuth', 'cortex-auth!', 'Cortex Memory 2026', 'cortex123'])(
  'refuses %s, the name of the product',
  (password) => {
    expect(passwordFault(password, EMAIL)).toContain('product');
  },
);

it.each([
  'testpassword123',
  'correct horse battery',
  'ada.lovelace and her engine',
  'my cortex is not yours',
  'aaaaaaaaaaaaaaa',
  '        ',
])('takes %p: a common word inside is no harm, and nothing has to be composed', (password) => {
  expect(passwordFault(password, EMAIL)).toBeNull();
});
