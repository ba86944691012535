import { makeBackupCode, readBackupCode } from './backup-codes';

it('has 60 bits: twelve characters of thirty-two, each as likely as the others', () => {
  const codes = Array.from({ length: 4_000 }, makeBackupCode);
  expect(codes.filter((code) => !/^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){2}$/.test(code))).toEqual(
    [],
  );
  expect(new Set(codes).size).toBe(codes.length);
  const counts = new Map<string, number>();
  for (const character of codes.join('').replaceAll('-', ''))
    counts.set(character, (counts.get(character) ?? 0) + 1);
  expect(counts.size).toBe(32);
  // 1,500 of each are expected; six standard deviations are 229.
  expect([...counts].filter(([, count]) => Math.abs(count - 1_500) > 229)).toEqual([]);
});

it('is read however it is typed', () => {
  const code = '0123-1abc-0xyz';
  for (const typed of ['0123-1abc-0xyz', ' O123 LABC OXYZ ', '01231abc0xyz', 'o123-iabc-oxyz']) {
    expect(readBackupCode(typed)).toBe(code);
  }
});

it.each(['', '492039', '0123-1abc-0xy', '0123-1abc-0xyz1', '0123-1abc-0xyu', '0123-1abc-0xy\u0130'])(
  'is not read from %p',
  (typed) => {
    expect(readBackupCode(typed)).toBeNull();
  },
);
