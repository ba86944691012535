import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { settings } from '../../../src/config/settings';
import { until } from './service-process';

/** The repository. */
export const root = join(__dirname, '..', '..', '..');

const START_LIMIT_MS = 60_000;
const END_LIMIT_MS = 30_000;

/** Where and as whom a command runs; by default in the repository, as who runs the tests. */
export interface Place {
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

/** How a command ended, and everything it said. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * The environment of a shell in which only these settings of the service are set; the others are empty, so that a
 * developer's own environment and `.env` do not matter. What npm and jest put there is left out.
 */
export function environment(given: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_|^JEST_|^NODE_/i.test(name));
  const names = Object.keys(settings.shape).flatMap((name) => [name, `${name}_FILE`]);
  return {
    ...Object.fromEntries(inherited),
    ...Object.fromEntries(names.map((name) => [name, ''])),
    NODE_ENV: 'development',
    ...given,
  };
}

/** Runs a command to its end, without input. */
export async function run(
  command: readonly [string, ...string[]],
  given: Readonly<Record<string, string>>,
  place: Place = {},
): Promise<Ended> {
  const child = launch(command, given, place);
  const said = listen(child);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, ...said };
}

/** A service that `npm start` runs in a process group of its own, as a terminal does it. */
export class NpmService {
  private static readonly running = new Set<NpmService>();
  private address = '';

  /** Begins a start, on a free port, and does not wait for it. */
  static launch(given: Readonly<Record<string, string>>, place: Place = {}): NpmService {
    const child = launch(['npm', 'start'], { PORT: '0', ...given }, place);
    const service = new NpmService(child, listen(child));
    NpmService.running.add(service);
    return service;
  }

  /**
   * Resolves when the service listens.
   * @throws Error with what it said when it ends before.
   */
  static async start(given: Readonly<Record<string, string>>, place: Place = {}): Promise<NpmService> {
    const service = NpmService.launch(given, place);
    await until(() => service.isListening(), START_LIMIT_MS);
    return service;
  }

  /** Ends what a failed test left running. */
  static async endAll(): Promise<void> {
    await Promise.all([...NpmService.running].map((service) => service.interrupt()));
  }

  private constructor(
    private readonly child: ChildProcess,
    private readonly said: { readonly stdout: string; readonly stderr: string },
  ) {}

  get url(): string {
    return this.address;
  }

  /** What the terminal shows. */
  get output(): string {
    return this.said.stdout + this.said.stderr;
  }

  /** Ctrl-C: the signal reaches every process of the terminal's foreground group, npm and the service alike. */
  async interrupt(signal: NodeJS.Signals = 'SIGINT'): Promise<Ended> {
    const { child } = this;
    NpmService.running.delete(this);
    if (!hasEnded(child) && child.pid !== undefined) {
      const ended = once(child, 'close');
      process.kill(-child.pid, signal);
      const timer = setTimeout(() => process.kill(-(child.pid ?? 0), 'SIGKILL'), END_LIMIT_MS);
      await ended;
      clearTimeout(timer);
    }
    return { code: child.exitCode, signal: child.signalCode, ...this.said };
  }

  private isListening(): boolean {
    if (hasEnded(this.child)) throw new Error(`The service ended before it listened:\n${this.output}`);
    this.address = /"url":"([^"]+)","msg":"listening"/.exec(this.said.stdout)?.[1] ?? '';
    return this.address !== '';
  }
}

/** Ends every service, and deletes a throw-away folder. @throws Error when a process of it lived on (Linux only). */
export async function endAllIn(folder: string): Promise<void> {
  await NpmService.endAll();
  const left = process.platform === 'linux' ? killProcessesOf(folder) : [];
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  if (left.length > 0) throw new Error(`Still running:\n${left.join('\n')}`);
}

/** Ends the processes of a throw-away folder that a failed test left running. @returns what ran. */
export function killProcessesOf(folder: string): string[] {
  const left = processesOf(folder);
  for (const line of left) {
    try {
      process.kill(Number.parseInt(line, 10), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
  return left;
}

/**
 * The processes that live in or for a folder, PostgreSQL's included: by their arguments, environment or working
 * directory. One that has ended and only waits to be reaped has none of these. Linux only.
 */
export function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const command = readProc(pid, 'cmdline');
      const facts = [command, readProc(pid, 'environ'), workingDirectory(pid)];
      return facts.some((fact) => fact.includes(folder)) ? [`${pid} ${command.replaceAll('\0', ' ')}`] : [];
    });
}

function launch(
  [file, ...args]: readonly [string, ...string[]],
  given: Readonly<Record<string, string>>,
  { cwd = root, ...identity }: Place,
): ChildProcess {
  const options = { ...identity, cwd, env: environment(given), detached: true };
  return spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
}

function listen(child: ChildProcess): { stdout: string; stderr: string } {
  const said = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  return said;
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // Gone meanwhile, or another user's.
    return '';
  }
}

function workingDirectory(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}
