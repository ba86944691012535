import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const probe = new URL('probe.mjs', import.meta.url).href;
const STOP_LIMIT_MS = 10_000;

/** Every process that is still to be ended, for {@link stopAll}. */
const running = new Set();
let lastId = 0;

/** A process of the bench: floor, load generator or the service itself, each with a core's worth of JavaScript of its own. */
export class Subject {
  constructor(child, name) {
    this.child = child;
    this.name = name;
    this.waiting = new Map();
    running.add(this);
    child.on('message', ({ id, answer, error }) => {
      const asked = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) asked?.reject(new Error(`${name}: ${error}`));
      else asked?.resolve(answer);
    });
    child.once('exit', (code, signal) => {
      running.delete(this);
      for (const { reject } of this.waiting.values()) reject(new Error(`${name} ended: ${signal ?? code}`));
    });
  }

  get hasEnded() {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Asks what probe.mjs or the script itself answers. */
  ask(question, value) {
    if (this.hasEnded) return Promise.reject(new Error(`${this.name} has ended.`));
    const id = ++lastId;
    const answer = new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.child.send({ id, question, value });
    return answer;
  }

  /** Ends the process as an operator would, and waits until it is gone; one that lingers is killed. */
  async stop() {
    if (this.hasEnded) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
    await exit;
    clearTimeout(timer);
  }
}

/** Starts a Node script in a process of its own, which sees only the given environment. */
export function start(script, { name, env = {}, cwd, args = [], flags = [] }) {
  const child = fork(script, args, {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    execArgv: [...flags, '--import', probe],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
  return new Subject(child, name);
}

/** Starts a script of this folder and waits until it says that it is ready. @returns the subject and what it said. */
export async function startScript(file, options = {}) {
  const script = fileURLToPath(new URL(file, import.meta.url));
  const subject = start(script, { name: file, ...options });
  const [message] = await Promise.race([once(subject.child, 'message'), failure(subject)]);
  return { subject, said: message.ready };
}

/** Ends whatever still runs. */
export async function stopAll() {
  await Promise.all([...running].map((subject) => subject.stop()));
}

/** Rejects when the subject ends by itself. */
export async function failure(subject) {
  const [code, signal] = await once(subject.child, 'exit');
  throw new Error(`${subject.name} ended: ${signal ?? code}`);
}

/** A port of the loopback interface that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
