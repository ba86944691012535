/* The floor of a login: nothing but argon2 verifying the right password, the same number of callers at once. */
import argon2 from 'argon2';
import { answer, ready } from './probe.mjs';

answer('verify', async ({ hash, password, callers, seconds }) => {
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + seconds * 1000;
  let verified = 0;
  const caller = async () => {
    while (performance.now() < endsAtMs) {
      if (!(await argon2.verify(hash, password)))
        throw new Error('The password does not belong to the hash.');
      verified += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { perSecond: verified / ((performance.now() - startedAtMs) / 1000) };
});
ready();
