import { isIP } from 'node:net';
import { normalizeIp } from '@nestjs/throttler';

/**
 * What an address is counted as: an IPv4 address as itself, however it is written (`::ffff:192.0.2.1`), an IPv6 address
 * as its /64, without a zone. A port, which some proxies add, is left out. What is no address at all is counted together.
 */
export function addressKey(text: string): string {
  if (isIP(text) === 4) return text;
  const address = text.replace(/^\[(.*)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2');
  return isIP(address) === 0 ? 'unknown' : normalizeIp(address);
}
