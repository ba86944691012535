import { spawnSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { codeAt, matchingStep, otpauthUrl } from './totp';

/** RFC 6238, appendix B, for SHA-1: seconds since the epoch, and the code of eight digits. */
const vectors: readonly [number, string][] = [
  [59, '94287082'],
  [1_111_111_109, '07081804'],
  [1_111_111_111, '14050471'],
  [1_234_567_890, '89005924'],
  [2_000_000_000, '69279037'],
  [20_000_000_000, '65353130'],
];
const RFC_SECRET = Buffer.from('12345678901234567890');

it.each(vectors)('makes the code of RFC 6238 at %d seconds', (seconds, code) => {
  expect(codeAt(RFC_SECRET, Math.floor(seconds / 30), 8)).toBe(code);
  expect(codeAt(RFC_SECRET, Math.floor(seconds / 30))).toBe(code.slice(2));
});

const hasOathtool = spawnSync('oathtool', ['--version']).status === 0;
const why = hasOathtool ? '' : ' (skipped: needs oathtool; apt-get install oathtool)';

(hasOathtool ? it : it.skip)(
  `makes the codes that oathtool makes, of 1,000 random secrets and times${why}`,
  () => {
    const cases = Array.from({ length: 1_000 }, () => ({
      secret: randomBytes(20),
      seconds: randomInt(2 ** 32),
    }));
    const script = cases
      .map(({ secret, seconds }) => `oathtool --totp --now "@${seconds}" ${secret.toString('hex')}`)
      .join('\n');
    const { stdout } = spawnSync('sh', ['-e'], {
      input: script,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], TZ: 'UTC' },
    });
    const ours = cases.map(({ secret, seconds }) => codeAt(secret, Math.floor(seconds / 30)));
    expect(ours).toEqual(stdout.trim().split('\n'));
  },
);

it('accepts the present step and the one before it, and no other (6.5.5)', () => {
  const secret = randomBytes(20);
  const nowMs = 1_795_315_044_619;
  const now = Math.floor(nowMs / 30_000);
  const accepted = [];
  for (let step = now - 200; step <= now + 200; step++) {
    if (matchingStep(secret, codeAt(secret, step), nowMs) === step) accepted.push(step);
  }
  expect(accepted).toEqual([now - 1, now]);
});

it.each(['', '12345', '1234567', 'abcdef', '-12345', ' 12345', '12.345', '１２３４５６'])(
  'takes %p for no code',
  (text) => {
    expect(matchingStep(RFC_SECRET, text, 59_000)).toBeNull();
  },
);

it('takes a code of numbers only in the form that the app shows', () => {
  expect(matchingStep(RFC_SECRET, '287082', 59_000)).toBe(1);
  expect(matchingStep(RFC_SECRET, '0287082', 59_000)).toBeNull();
  expect(matchingStep(RFC_SECRET, '287082 ', 59_000)).toBeNull();
});

it('tells the app issuer, account and secret in the form that apps read', () => {
  const url = new URL(otpauthUrl(RFC_SECRET, 'api.example.com', 'a+b&c@example.com'));
  expect(url.protocol).toBe('otpauth:');
  expect(decodeURIComponent(url.pathname.replace(/^\/+(totp\/)?/, ''))).toBe(
    'api.example.com:a+b&c@example.com',
  );
  expect(Object.fromEntries(url.searchParams)).toEqual({
    secret: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ',
    issuer: 'api.example.com',
  });
});
