import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort, until } from './service-process';

const READY_LIMIT_MS = 10_000;

/** `describe` where there is a redis-server; elsewhere the tests are skipped and say why, or fail with REQUIRE_REDIS=true. */
export const describeWithRedis: jest.Describe = (() => {
  if (spawnSync('redis-server', ['--version']).status === 0) return describe;
  const reason = 'redis-server is not installed (Debian: apt-get install redis-server)';
  if (process.env['REQUIRE_REDIS'] === 'true') throw new Error(reason);
  process.stdout.write(`Skipped: tests of limits that processes share, for ${reason}.\n`);
  return describe.skip;
})();

/** A Redis of its own for a test, on a free port, in memory only. */
export class RedisServer {
  private child: ChildProcess | undefined;
  private readonly directory = mkdtempSync(join(tmpdir(), 'cortex-auth-redis-'));
  /** For the test's own commands. */
  readonly client: Redis;

  private constructor(
    readonly port: number,
    private readonly isSentinel = false,
  ) {
    this.client = new Redis({ port, lazyConnect: true, retryStrategy: () => 20 });
    this.client.on('error', () => undefined);
  }

  static async start(): Promise<RedisServer> {
    const server = new RedisServer(await freePort());
    await server.run();
    return server;
  }

  /** Starts a Sentinel that knows a server as its master, by the name `main`. */
  static async startSentinel(master: RedisServer): Promise<RedisServer> {
    const sentinel = new RedisServer(await freePort(), true);
    const settings = [
      `port ${sentinel.port}`,
      'bind 127.0.0.1',
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
    ];
    writeFileSync(join(sentinel.directory, 'sentinel.conf'), `${settings.join('\n')}\n`);
    await sentinel.run();
    return sentinel;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts the process, empty; resolves when it answers. */
  async run(): Promise<void> {
    const options = this.isSentinel
      ? ['sentinel.conf', '--sentinel']
      : ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    this.child = spawn('redis-server', options, { cwd: this.directory, stdio: 'ignore' });
    await until(
      () =>
        this.client.ping().then(
          () => true,
          () => false,
        ),
      READY_LIMIT_MS,
    );
  }

  /** Ends the process without a word; what it held is gone. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  /** Stops the process in the middle of whatever it does; its connections stay open, as in `DEBUG SLEEP`. */
  freeze(): boolean {
    return this.child?.kill('SIGSTOP') ?? false;
  }

  thaw(): boolean {
    return this.child?.kill('SIGCONT') ?? false;
  }

  async end(): Promise<void> {
    this.client.disconnect();
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
