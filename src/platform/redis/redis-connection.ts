import { Redis, type RedisOptions } from 'ioredis';
import type { RedisAddress } from '../../config/redis-url';
import type { RedisScript } from './redis-script';

const CONNECT_TIMEOUT_MS = 1_000;
const RECONNECT_GAP_MS = 200;
const DISCONNECT_TIMEOUT_MS = 100;

/** What is called with a script: numbers are sent as decimal texts. */
type Argument = string | number;

/**
 * A connection to Redis that answers in time or fails: nothing waits in a queue for it to come back, and nothing is
 * sent twice. After a failure it connects anew, by itself and for ever; with Sentinels, to whoever is master then.
 */
export class RedisConnection {
  private readonly client: Redis;

  /** @param timeoutMs how long an answer may take. */
  constructor(
    address: RedisAddress,
    private readonly timeoutMs: number,
  ) {
    this.client = new Redis(optionsOf(address));
    // A failed connection is tried again; a failed call says so itself.
    this.client.on('error', () => undefined);
  }

  /** Resolves when there is a connection, or when the first try to get one has failed. */
  async firstTry(): Promise<void> {
    await this.client.connect().catch(() => undefined);
  }

  /**
   * Runs a script.
   * @throws Error when there is no connection, when Redis refuses (it may be read-only), or when the answer takes too
   * long; then it is not known whether the script ran.
   */
  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly Argument[],
    timeoutMs = this.timeoutMs,
  ): Promise<unknown> {
    if (!this.isReady()) throw new Error('Redis is not connected.');
    try {
      return await within(this.evaluate(script, keys, args), timeoutMs);
    } catch (error) {
      // It may be frozen, half open, or a master no longer.
      if (this.isReady()) this.client.disconnect(true);
      throw error;
    }
  }

  end(): void {
    this.client.disconnect();
  }

  private isReady(): boolean {
    return this.client.status === 'ready';
  }

  private async evaluate(
    { text, sha }: RedisScript,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<unknown> {
    try {
      return await this.client.evalsha(sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return this.client.eval(text, keys.length, ...keys, ...args);
    }
  }
}

function optionsOf({ servers, sentinelName, username, password, db, tls }: RedisAddress): RedisOptions {
  const where = sentinelName === undefined ? servers[0] : { sentinels: [...servers], name: sentinelName };
  return {
    ...where,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: {} }),
    db,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Whether it takes calls is found out by calling.
    enableReadyCheck: false,
    disableClientInfo: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    retryStrategy: () => RECONNECT_GAP_MS,
    sentinelRetryStrategy: () => RECONNECT_GAP_MS,
  };
}

/** The answer, or an error after so many milliseconds. */
function within<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => {
      reject(new Error(`Redis did not answer within ${timeoutMs} ms.`));
    };
    // When this process was busy, the answer may be here, unread: sockets come between timers and immediates.
    const timer = setTimeout(() => setImmediate(giveUp), timeoutMs);
    answer.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}
