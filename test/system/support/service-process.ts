import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { findPostmaster, stopPostgres } from '../../../src/platform/database/postgres-process';

const root = join(__dirname, '..', '..', '..');
const READY_LIMIT_MS = 60_000;
const POLL_MS = 5;
const SAID_CHARS_MAX = 10_000;

/** Builds the service when its sources have changed, as `npm start` does. */
export function buildService(): void {
  const script = `import { buildIfStale } from ${JSON.stringify(pathToFileURL(join(root, 'scripts', 'build.mjs')).href)}; buildIfStale();`;
  const { status } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error('The service does not build.');
}

/** The built service in a process of its own, with the embedded PostgreSQL of its `directory`, again and again. */
export class ServiceProcess {
  private child: ChildProcess | undefined;
  private said = '';

  /**
   * @param settings further environment variables; nothing else of this process's environment is passed on.
   * @param script what is run instead of the service as it is.
   */
  constructor(
    readonly directory: string,
    private readonly port: number,
    private readonly settings: Readonly<Record<string, string>> = {},
    private readonly script = join(root, 'dist', 'src', 'main.js'),
  ) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The process id of the embedded PostgreSQL, whoever owns it now. */
  get postgresPid(): number | undefined {
    return findPostmaster(this.postgresData)?.pid;
  }

  /** What it has written so far, its end at least. */
  get output(): string {
    return this.said;
  }

  get isRunning(): boolean {
    return this.child !== undefined && !hasEnded(this.child);
  }

  /** Resolves when `/health/ready` answers 200; @throws Error with what the service said when it ends before. */
  async start(): Promise<void> {
    this.said = '';
    const child = spawn(process.execPath, [this.script], {
      // Away from the checkout, where a developer's .env may be.
      cwd: this.directory,
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        PORT: String(this.port),
        DATA_DIR: this.directory,
        LOG_LEVEL: 'warn',
        ...this.settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on(
        'data',
        (chunk: Buffer) => (this.said = (this.said + chunk.toString()).slice(-SAID_CHARS_MAX)),
      );
    }
    await until(async () => {
      if (hasEnded(child)) throw new Error(`The service ended before it was ready. It said:\n${this.said}`);
      return isReady(this.url);
    }, READY_LIMIT_MS);
  }

  /** Ends the process with SIGKILL, which it cannot notice, and waits until it is gone. PostgreSQL stays. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child || hasEnded(child)) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  /** Ends the service as it is, and its PostgreSQL, and waits until both are gone. */
  async end(): Promise<void> {
    await this.kill();
    const { postgresPid } = this;
    if (postgresPid !== undefined) await stopPostgres(this.postgresData, postgresPid);
  }

  private get postgresData(): string {
    return join(this.directory, 'cluster', 'data');
  }
}

/** A port of the loopback interface that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('A TCP server has a port.');
  return address.port;
}

/** Asks until the condition holds; @throws Error when it does not within `limitMs`. */
export async function until(condition: () => boolean | Promise<boolean>, limitMs: number): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs)
      throw new Error(`It did not come about within ${limitMs / 1000} seconds.`);
    await sleep(POLL_MS);
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health/ready`, { headers: { connection: 'close' } });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
