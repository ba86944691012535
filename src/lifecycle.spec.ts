import { EventEmitter } from 'node:events';
import { runUntilSignal, type Drainable } from './lifecycle';

/** A process whose time stands still until a test moves it, and a service that notes what happens to it. */
function given(overrides: Partial<Drainable> = {}) {
  const signals = new EventEmitter();
  const events: string[] = [];
  let nowMs = 1_000;
  let exited: (code: number) => void = () => undefined;
  const exit = new Promise<number>((resolve) => (exited = resolve));
  let endGrace: () => void = () => undefined;
  const grace = new Promise<void>((resolve) => (endGrace = resolve));

  runUntilSignal(
    {
      beginDrain: () => events.push('drain'),
      stopAccepting: () => Promise.resolve(void events.push('stop accepting')),
      graceMs: 300,
      close: () => Promise.resolve(void events.push('close')),
      abandon: () => events.push('abandon'),
      report: (error) => events.push(`report ${String(error)}`),
      ...overrides,
    },
    {
      on: (signal, listener) => signals.on(signal, listener),
      exit: (code) => {
        events.push(`exit ${code}`);
        exited(code);
      },
      nowMs: () => nowMs,
      sleep: (ms) => {
        events.push(`grace ${ms}`);
        return grace;
      },
    },
  );
  return {
    events,
    exit,
    endGrace,
    send: (signal: NodeJS.Signals, afterMs = 0) => {
      nowMs += afterMs;
      signals.emit(signal, signal);
    },
  };
}

const never = () => new Promise<void>(() => undefined);

describe('runUntilSignal', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'drains on %s, then closes and exits with 0',
    async (signal) => {
      const { send, endGrace, exit, events } = given();

      send(signal);
      expect(events).toEqual(['drain', 'grace 300']);
      endGrace();

      await expect(exit).resolves.toBe(0);
      expect(events).toEqual(['drain', 'grace 300', 'stop accepting', 'grace 300', 'close', 'exit 0']);
    },
  );

  it('takes a repetition within half a second for the echo of the same Ctrl-C', async () => {
    const { send, endGrace, exit, events } = given();

    send('SIGINT');
    send('SIGINT', 3);
    send('SIGTERM', 497);
    endGrace();

    await expect(exit).resolves.toBe(0);
    expect(events).toEqual(['drain', 'grace 300', 'stop accepting', 'grace 300', 'close', 'exit 0']);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('abandons and exits at once on a second signal, %s, with %i', async (signal, code) => {
    const { send, exit, events } = given({ close: never });

    send('SIGTERM');
    send(signal, 501);

    await expect(exit).resolves.toBe(code);
    expect(events).toEqual(['drain', 'grace 300', 'abandon', `exit ${code}`]);
  });

  it('exits on a second signal even when abandoning fails', () => {
    const { send, events } = given({
      close: never,
      abandon: () => {
        throw new Error('no');
      },
    });

    send('SIGTERM');

    expect(() => {
      send('SIGTERM', 600);
    }).toThrow('no');
    expect(events).toContain('exit 143');
  });

  it('reports a failed close and exits with 1', async () => {
    const { send, endGrace, exit, events } = given({ close: () => Promise.reject(new Error('stuck')) });

    send('SIGTERM');
    endGrace();

    await expect(exit).resolves.toBe(1);
    expect(events).toEqual([
      'drain',
      'grace 300',
      'stop accepting',
      'grace 300',
      'report Error: stuck',
      'exit 1',
    ]);
  });
});
