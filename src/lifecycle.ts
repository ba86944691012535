import { setTimeout as sleep } from 'node:timers/promises';

/** What ends when the process is told to end. */
export interface Drainable {
  /** Tells the world to go elsewhere, while everything else is as before. */
  beginDrain(): void;
  /** Takes no more connections; the next answer on each that is open is its last. */
  stopAccepting(): Promise<void>;
  /** How long the world has for each of these two, in milliseconds. */
  readonly graceMs: number;
  /** Answers what was accepted and lets go of everything. */
  close(): Promise<void>;
  /** Leaves at once: must not wait, and is the last thing that runs. */
  abandon(): void;
  /** Told when `close` fails; the process then ends with code 1. */
  report(error: unknown): void;
}

/** The parts of `process` and of time that this needs; tests stand in for them. */
export interface Host {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  exit(code: number): void;
  nowMs(): number;
  sleep(ms: number): Promise<unknown>;
}

/** By number: a process that a signal ended early exits with 128 and the signal's number. */
const signals = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Ctrl-C reaches the process twice, from the terminal and from npm, which passes it on. */
const ECHO_MS = 500;

const thisProcess: Host = {
  on: (signal, listener) => process.on(signal, listener),
  exit: (code) => process.exit(code),
  nowMs: () => performance.now(),
  sleep: (ms) => sleep(ms),
};

/**
 * Ends the service on SIGTERM, SIGINT or SIGHUP: drains, closes, exits with 0 (1 when closing failed). A second
 * signal, more than half a second after the first, abandons what is open and exits at once.
 */
export function runUntilSignal(service: Drainable, host: Host = thisProcess): void {
  let firstAtMs: number | undefined;

  const onSignal = (signal: NodeJS.Signals): void => {
    if (firstAtMs === undefined) {
      firstAtMs = host.nowMs();
      void drain(service, host);
    } else if (host.nowMs() - firstAtMs > ECHO_MS) {
      try {
        service.abandon();
      } finally {
        host.exit(128 + signals[signal as keyof typeof signals]);
      }
    }
  };
  for (const signal of Object.keys(signals)) host.on(signal as NodeJS.Signals, onSignal);
}

async function drain(service: Drainable, host: Host): Promise<void> {
  try {
    service.beginDrain();
    await host.sleep(service.graceMs);
    await service.stopAccepting();
    await host.sleep(service.graceMs);
    await service.close();
  } catch (error) {
    service.report(error);
    host.exit(1);
    return;
  }
  host.exit(0);
}
