import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { openEmbeddedPostgres, type VisitedPostgres } from '../../src/platform/database/embedded-postgres';
import { Keyring } from '../../src/platform/crypto/keyring';
import { Passwords } from '../../src/platform/crypto/passwords';
import { makeBackupCode } from '../../src/two-factor/backup-codes';
import { codeAt } from '../../src/two-factor/totp';
import { buildService, freePort, ServiceProcess } from '../system/support/service-process';

/** Set TWO_FACTOR_ROUNDS for more than one. */
const rounds = Math.max(1, Number.parseInt(process.env['TWO_FACTOR_ROUNDS'] ?? '1', 10));
const LOGINS = 50;
const PASSWORD = 'correct horse battery staple';
const NEW_KEY = 'Qm8vT2xKd7RzYp4LnW9cHb6JfGs3Ae5U';
const secrets = {
  JWT_SECRET_KEY: 'mNw3jR8vXq2LcZ5tYb7KpGf4HsD9aVeU6iOx1BoT0lCr',
  SECRET_KEY: 'Zx8cVb2nMq5wErT7yUi3oPaS6dFgH1jKlQ4zXcVvB9nM',
};
const keyring = new Keyring({ ENCRYPTION_KEYS: [], SECRET_KEY: secrets.SECRET_KEY });
const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-two-factor-'));
let services: ServiceProcess[] = [];
let postgres: VisitedPostgres;
let db: Client;

jest.setTimeout(180_000 + rounds * 60_000);

/** Two processes on one database; everything is real but the addresses that the log-ins come from. */
beforeAll(async () => {
  chmodSync(directory, 0o755);
  buildService();
  const settings = { ...secrets, TRUST_PROXY: 'loopback' };
  const first = new ServiceProcess(directory, await freePort(), settings);
  services = [first];
  await first.start();
  postgres = await openEmbeddedPostgres(directory);
  db = new Client(postgres.url);
  await db.connect();
  const second = new ServiceProcess(directory, await freePort(), { ...settings, DATABASE_URL: postgres.url });
  services.push(second);
  await second.start();
});

afterAll(async () => {
  const [first, second] = services;
  await second?.kill();
  await db.end();
  await postgres.close();
  await first?.end();
  rmSync(directory, { recursive: true, force: true });
});

interface EnrolledUser {
  readonly id: string;
  readonly email: string;
  readonly secret: Buffer;
  readonly backupCodes: readonly string[];
}

/** Signs a user up and stores an authenticator of his; the routes for that would use up the code of this moment. */
async function enrolledUser(): Promise<EnrolledUser> {
  const email = `${randomBytes(6).toString('hex')}@example.com`;
  const { status, body } = await post(0, 'auth/register', { email, password: PASSWORD });
  expect(status).toBe(200);
  const id = body['id'] as string;
  const [factorId, secret, salt] = [uuidv7(), randomBytes(20), randomBytes(16)];
  const { keyId, sealed } = keyring.seal(secret.toString('hex'), id);
  await db.query(
    `INSERT INTO two_factors (id, user_id, key_id, sealed, backup_salt, created_at, enabled_at)
     VALUES ($1, $2, $3, $4, $5, now(), now())`,
    [factorId, id, keyId, sealed, salt],
  );
  const passwords = new Passwords({ ARGON2_MEMORY_KIB: 19_456, ARGON2_TIME_COST: 2 });
  const backupCodes = Array.from({ length: 10 }, makeBackupCode);
  for (const code of backupCodes) {
    await db.query('INSERT INTO backup_codes (id, two_factor_id, hash) VALUES ($1, $2, $3)', [
      uuidv7(),
      factorId,
      await passwords.digest(code, salt),
    ]);
  }
  await db.query('UPDATE users SET two_factor_enabled = true WHERE id = $1', [id]);
  return { id, email, secret, backupCodes };
}

async function post(
  service: number,
  path: string,
  body: object,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${services[service]?.url ?? ''}/api/v1/${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-forwarded-for': `10.0.0.${randomBytes(1).readUInt8()}`,
    },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** The statuses of many log-ins at once, every other one at each process. */
async function logIns({ email }: EnrolledUser, code: string): Promise<number[]> {
  const answers = await Promise.all(
    Array.from({ length: LOGINS }, (_, i) =>
      post(i % 2, 'auth/login', { email, password: PASSWORD, two_factor_code: code }),
    ),
  );
  return answers.map(({ status }) => status);
}

async function count(sql: string, id: string): Promise<number> {
  const { rows } = await db.query<{ count: string }>(sql, [id]);
  return Number(rows[0]?.count);
}
const sessionsOf = ({ id }: EnrolledUser): Promise<number> =>
  count('SELECT count(*) FROM sessions WHERE user_id = $1', id);

function nowCode({ secret }: EnrolledUser): string {
  return codeAt(secret, Math.floor(Date.now() / 30_000));
}

it(`T9, R19: one code of the app, ${LOGINS} log-ins at once over two processes: one session, ${rounds} times`, async () => {
  for (let round = 0; round < rounds; round++) {
    const user = await enrolledUser();
    const statuses = await logIns(user, nowCode(user));
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 401)).toHaveLength(LOGINS - 1);
    expect(await sessionsOf(user)).toBe(1);
  }
});

it(`R17: one backup code, ${LOGINS} log-ins at once over two processes: one session, nine left, ${rounds} times`, async () => {
  for (let round = 0; round < rounds; round++) {
    const user = await enrolledUser();
    const statuses = await logIns(user, user.backupCodes[0] ?? '');
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(await sessionsOf(user)).toBe(1);
    const left = await count(
      `SELECT count(*) FROM backup_codes JOIN two_factors f ON f.id = two_factor_id
       WHERE user_id = $1 AND used_at IS NULL`,
      user.id,
    );
    expect(left).toBe(9);
  }
});

it('encrypts the secrets anew by npm run secrets:rotate, beside the running processes', async () => {
  const user = await enrolledUser();
  const rotate = (
    settings: Record<string, string>,
  ): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [join(__dirname, '../../dist/src/admin/secrets-rotate.js')], {
      cwd: directory,
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        DATA_DIR: directory,
        ...secrets,
        ...settings,
      },
      encoding: 'utf8',
    });
  const total = await count('SELECT count(*) FROM two_factors WHERE $1::text IS NOT NULL', '');
  const done = rotate({ ENCRYPTION_KEYS: NEW_KEY });
  expect(done).toMatchObject({ status: 0, stderr: '' });
  expect(done.stdout).toBe(`Encrypted anew under the first key: ${total}. Everything is under it now.\n`);
  const lost = rotate({});
  expect(lost).toMatchObject({ status: 1, stdout: '' });
  expect(lost.stderr).toContain(user.id);
  // And back, for the processes that have no other key.
  expect(rotate({ ENCRYPTION_KEYS: `${secrets.SECRET_KEY},${NEW_KEY}` })).toMatchObject({ status: 0 });
  const opened = await post(1, 'auth/login', {
    email: user.email,
    password: PASSWORD,
    two_factor_code: nowCode(user),
  });
  expect(opened.status).toBe(200);
});
