import { Keyring } from '../../src/platform/crypto/keyring';
import { rotateSecrets } from '../../src/two-factor/rotate-secrets';
import { TwoFactor } from '../../src/two-factor/two-factor.entity';
import { startTestApp, type TestApp } from '../support/test-app';
import { type Enrolled, enrolled } from '../support/two-factor';

const NEW_KEY = 'Qm8vT2xKd7RzYp4LnW9cHb6JfGs3Ae5U';
const USERS = 12;

describe('npm run secrets:rotate', () => {
  let before: TestApp;
  let after: TestApp;
  const users: Enrolled[] = [];
  beforeAll(async () => {
    before = await startTestApp();
    for (let i = 0; i < USERS; i++) users.push(await enrolled(before));
    after = await startTestApp({ databaseUrl: before.databaseUrl, settings: { ENCRYPTION_KEYS: NEW_KEY } });
  });
  afterAll(async () => {
    await after.close();
    await before.close();
  });

  const verify = async (t: TestApp, { app, token }: Enrolled): Promise<number> =>
    (await t.http.from().post('/auth/2fa/verify', { bearer: token, body: { code: app.code() } })).status;
  const keyIds = async (): Promise<string[]> => [
    ...new Set((await before.db.find(TwoFactor)).map(({ keyId }) => keyId)),
  ];

  it('encrypts everything under the first key while codes are checked, and refuses none of them', async () => {
    const keyring = after.app.get(Keyring, { strict: false });
    const old = await keyIds();
    expect(old).toHaveLength(1);
    let isRotating = true;
    const seen: number[] = [];
    const load = async (): Promise<void> => {
      for (let i = 0; isRotating || i < USERS; i++) {
        if (i % USERS === 0)
          [before, after].forEach(({ clock }) => {
            clock.advance(30_000);
          });
        const user = users[i % USERS];
        if (user) seen.push(await verify(after, user));
      }
    };
    const [, rotation] = await Promise.all([
      load(),
      rotateSecrets(after.db, keyring).finally(() => (isRotating = false)),
    ]);
    expect(rotation).toEqual({ rotated: USERS, unreadable: [] });
    expect(seen.length).toBeGreaterThanOrEqual(USERS);
    expect(seen.filter((status) => status !== 200)).toEqual([]);
    expect(await keyIds()).toEqual([keyring.keyId]);
    expect(await rotateSecrets(after.db, keyring)).toEqual({ rotated: 0, unreadable: [] });
  });

  it('names whose secrets no key opens, and leaves them as they are', async () => {
    const foreign = new Keyring({ ENCRYPTION_KEYS: [], SECRET_KEY: 'x'.repeat(40) });
    const state = await before.db.find(TwoFactor, { order: { id: 'ASC' } });
    const { rotated, unreadable } = await rotateSecrets(before.db, foreign);
    expect(rotated).toBe(0);
    expect([...unreadable].sort()).toEqual(users.map(({ id }) => id).sort());
    expect(await before.db.find(TwoFactor, { order: { id: 'ASC' } })).toEqual(state);
  });

  it('lets the old key go: what is under the new one works without it', async () => {
    const alone = new Keyring({ ENCRYPTION_KEYS: [NEW_KEY], SECRET_KEY: 'y'.repeat(40) });
    for (const factor of await before.db.find(TwoFactor)) {
      expect(alone.open(factor, factor.userId)).toMatch(/^[0-9a-f]{40}$/);
    }
  });
});
