import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../system/support/service-process';

/*
 * The PostgreSQL of the distribution brings the programs that the embedded one lacks; its major version is often older,
 * which shows that nothing newer is needed.
 */
const versions = '/usr/lib/postgresql';
const installed = existsSync(versions) ? readdirSync(versions).filter((name) => /^\d+$/.test(name)) : [];
const usable = installed.filter((name) => existsSync(join(versions, name, 'bin', 'initdb')));
const bin = join(versions, usable.sort((a, b) => Number(b) - Number(a))[0] ?? 'none', 'bin');
const hasPostgres = usable.length > 0;

/** `it`, where the distribution's PostgreSQL is installed; else it is said what is skipped. */
export function itWithPostgres(what: string): jest.It {
  if (!hasPostgres) process.stderr.write(`Skipped: ${what}, for there is no PostgreSQL in ${versions}.\n`);
  return hasPostgres ? it : it.skip;
}

/** PostgreSQL does not run as root. */
const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;

/** Servers of the distribution's PostgreSQL, in a folder of their own. */
export class DistributionPostgres {
  readonly directory = mkdtempSync(join(tmpdir(), 'cortex-auth-postgres-'));
  private readonly ports = new Map<string, number>();

  constructor() {
    chmodSync(this.directory, 0o755);
    if (nobody) chownSync(this.directory, nobody.uid, nobody.gid);
  }

  /** Runs one of PostgreSQL's programs; @throws Error with what it said when it fails. */
  run(program: string, ...args: string[]): void {
    const options = { ...nobody, cwd: this.directory, encoding: 'utf8' } as const;
    const { status, stderr } = spawnSync(join(bin, program), args, options);
    if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  }

  /** Runs a script that PostgreSQL's image runs in a new server, as the superuser. */
  runInitScript(name: string, script: string, settings: Readonly<Record<string, string>>): void {
    const { hostname, port } = new URL(this.url('postgres', 'cortex', name));
    const { status, stderr } = spawnSync('bash', ['-e', script], {
      encoding: 'utf8',
      env: {
        PATH: `${bin}:${process.env['PATH'] ?? ''}`,
        PGHOST: hostname,
        PGPORT: port,
        POSTGRES_USER: 'cortex',
        POSTGRES_DB: 'postgres',
        ...settings,
      },
    });
    if (status !== 0) throw new Error(`${script} failed: ${stderr}`);
  }

  /** Makes a server of its own, whose superuser is `cortex`, and starts it. */
  async make(name: string): Promise<void> {
    this.run('initdb', '-D', this.data(name), '-U', 'cortex', '-A', 'trust', '-E', 'UTF8');
    await this.start(name);
  }

  /** Copies a running server to one that follows it, and starts that. */
  async follow(name: string, primary: string, ...settings: string[]): Promise<void> {
    const from = this.url('postgres', 'cortex', primary);
    this.run(
      'pg_basebackup',
      '-D',
      this.data(name),
      '-d',
      from,
      '--checkpoint=fast',
      '--write-recovery-conf',
    );
    await this.start(name, ...settings);
  }

  async start(name: string, ...settings: string[]): Promise<void> {
    const port = this.ports.get(name) ?? (await freePort());
    this.ports.set(name, port);
    const all = [
      `port=${port}`,
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'fsync=off',
      ...settings,
    ];
    const options = all.map((setting) => `-c ${setting}`).join(' ');
    this.run('pg_ctl', '-D', this.data(name), '-w', '-l', this.logFile(name), '-o', options, 'start');
  }

  stop(name: string, mode: 'fast' | 'immediate' = 'fast'): void {
    this.run('pg_ctl', '-D', this.data(name), '-m', mode, '-w', 'stop');
  }

  /** The URL of a database, without a password. */
  url(database: string, role: string, name: string): string {
    return `postgres://${role}@127.0.0.1:${this.ports.get(name)}/${database}`;
  }

  logFile(name: string): string {
    return join(this.directory, `${name}.log`);
  }

  /** Ends what runs and removes everything. */
  remove(): void {
    for (const name of this.ports.keys())
      if (existsSync(join(this.data(name), 'postmaster.pid'))) this.stop(name, 'immediate');
    rmSync(this.directory, { recursive: true, force: true });
  }

  private data(name: string): string {
    return join(this.directory, name);
  }
}
