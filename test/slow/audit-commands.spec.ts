import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { openEmbeddedPostgres, type VisitedPostgres } from '../../src/platform/database/embedded-postgres';
import { buildService, freePort, ServiceProcess } from '../system/support/service-process';

const EMAIL = 'audited@example.com';
const directory = mkdtempSync(join(tmpdir(), 'cortex-auth-audit-'));
let service: ServiceProcess;
let postgres: VisitedPostgres;
let database: Client;

jest.setTimeout(180_000);

beforeAll(async () => {
  chmodSync(directory, 0o755);
  buildService();
  service = new ServiceProcess(directory, await freePort());
  await service.start();
  postgres = await openEmbeddedPostgres(directory);
  database = new Client(postgres.url);
  await database.connect();
  const body = JSON.stringify({ email: EMAIL, password: 'correct horse battery staple' });
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${service.url}/api/v1/auth/register`, { method: 'POST', headers, body });
  expect(answer.status).toBe(200);
});

afterAll(async () => {
  await database.end();
  await postgres.close();
  await service.end();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs a built command beside the service. */
function run(command: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(__dirname, '../../dist/src/admin', command), ...args], {
    cwd: directory,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], DATA_DIR: directory },
    encoding: 'utf8',
  });
}

it('records what the operator does, once, and nothing when he names nobody', async () => {
  expect(run('cli.js', 'promote', EMAIL)).toMatchObject({ status: 0 });
  expect(run('cli.js', 'promote', EMAIL)).toMatchObject({ status: 0 });
  expect(run('cli.js', 'tier', EMAIL.toUpperCase(), 'internal')).toMatchObject({ status: 0 });
  expect(run('cli.js', 'tier', EMAIL, 'none')).toMatchObject({ status: 0 });
  expect(run('cli.js', 'tier', 'nobody@example.com', 'none')).toMatchObject({
    status: 1,
    stderr: 'There is no account nobody@example.com.\n',
  });
  const { rows } = await database.query(
    `SELECT action, actor, ip, details FROM audit_events JOIN audit_details ON event_id = id
     WHERE actor IS NOT NULL ORDER BY id`,
  );
  const by = { actor: 'system', ip: null };
  expect(rows).toEqual([
    { ...by, action: 'role.changed', details: { from: 'user', to: 'admin' } },
    { ...by, action: 'tier.changed', details: { from: null, to: 'internal' } },
    { ...by, action: 'tier.changed', details: { from: 'internal', to: null } },
  ]);
});

it('verifies the log while the service runs, and exits with 1 when it is not what was recorded', async () => {
  const whole = run('audit-verify.js');
  expect(whole).toMatchObject({ status: 0, stderr: '' });
  expect(whole.stdout).toMatch(/^The audit log is whole: 4 events/);

  await database.query('ALTER TABLE audit_events DISABLE TRIGGER USER');
  const { rows } = await database.query<{ id: string }>(
    `UPDATE audit_events SET actor = NULL WHERE action = 'role.changed' RETURNING id`,
  );
  const changed = run('audit-verify.js');
  expect(changed).toMatchObject({ status: 1, stdout: '' });
  expect(changed.stderr).toContain(`Event ${rows[0]?.id ?? ''}`);
  expect(changed.stderr).toContain('was changed, or was not written by this service.');
});

it('takes a head that was noted, and nothing else', () => {
  const noted = run('audit-verify.js', `99:${'0'.repeat(64)}`);
  expect(noted).toMatchObject({ status: 1 });
  expect(noted.stderr).toContain(`The head 99:${'0'.repeat(64)} is not in the chain any more.`);
  expect(run('audit-verify.js', 'nonsense')).toMatchObject({ status: 1 });
});
