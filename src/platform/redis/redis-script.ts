import { createHash } from 'node:crypto';

/** A Lua script, with the name Redis keeps it under: the SHA-1 of its text. */
export interface RedisScript {
  readonly text: string;
  readonly sha: string;
}

export function redisScript(text: string): RedisScript {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}
