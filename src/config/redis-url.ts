import { z } from 'zod';

/** Where a Redis is: its own address, or those of the Sentinels that know it. */
export interface RedisAddress {
  readonly servers: readonly { readonly host: string; readonly port: number }[];
  /** What the Sentinels call the Redis; undefined: the one server is the Redis itself. */
  readonly sentinelName?: string;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls: boolean;
}

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;
const SHAPE =
  /^(redis|rediss|redis\+sentinel):\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^@/?#]+)(?:\/([^/?#]*))?(?:\/(\d+))?$/;

/**
 * Reads `redis://[user:password@]host[:port][/db]`, the same with `rediss:` for TLS, or
 * `redis+sentinel://[user:password@]host[:port],host[:port]/name[/db]`.
 * @returns undefined when it is neither.
 */
export function parseRedisUrl(text: string): RedisAddress | undefined {
  const [, scheme, user, password, hosts = '', name, sentinelDb] = SHAPE.exec(text) ?? [];
  const isSentinel = scheme === 'redis+sentinel';
  const servers = hosts.split(',').map((host) => parseHost(host, isSentinel ? SENTINEL_PORT : REDIS_PORT));
  const db = isSentinel ? (sentinelDb ?? '0') : name || '0';
  const isSound = isSentinel ? Boolean(name) : servers.length === 1 && sentinelDb === undefined;
  if (!scheme || !isSound || !/^\d{1,5}$/.test(db) || !servers.every((server) => server !== undefined))
    return undefined;
  try {
    return {
      servers,
      ...(isSentinel && { sentinelName: name }),
      ...(user && { username: decodeURIComponent(user) }),
      ...(password && { password: decodeURIComponent(password) }),
      db: Number(db),
      tls: scheme === 'rediss',
    };
  } catch {
    return undefined;
  }
}

function parseHost(text: string, portDefault: number): { host: string; port: number } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([\da-f:]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const host = bracketed ?? plain;
  return host === undefined ? undefined : { host, port: Number(port ?? portDefault) };
}

/** The rule of `REDIS_URL`. */
export const redisUrl = z.string().transform((text, context): RedisAddress => {
  const address = parseRedisUrl(text);
  if (address) return address;
  context.addIssue(
    'must be redis://[user:password@]host[:port][/db], the same with rediss://, or redis+sentinel://[user:password@]host[:port],host[:port]/name[/db]',
  );
  return z.NEVER;
});
