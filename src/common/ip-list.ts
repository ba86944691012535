import { BlockList, isIP } from 'node:net';
import { registerDecorator } from 'class-validator';

type Family = 'ipv4' | 'ipv6';

interface Range {
  readonly address: string;
  readonly bits: number;
  readonly family: Family;
}

/** Addresses and CIDR ranges (RFC 4632, RFC 4291), to ask whether an address is among them. */
export class IpList {
  private readonly ranges = new BlockList();

  /** @throws Error when one is not a range; see {@link isIpRange}. */
  constructor(texts: readonly string[]) {
    for (const text of texts) {
      const range = parseRange(text);
      if (!range) throw new Error('An address list holds something that is no address.');
      this.ranges.addSubnet(range.address, range.bits, range.family);
    }
  }

  /** Whether an address is in one of the ranges; an IPv4 address is also found when it is written as IPv6 (`::ffff:192.0.2.1`). */
  has(address: string): boolean {
    const family = familyOf(address);
    return family !== null && this.ranges.check(address, family);
  }
}

/** Whether a text is an address or a CIDR range, IPv4 or IPv6. */
export function isIpRange(text: unknown): boolean {
  return typeof text === 'string' && parseRange(text) !== null;
}

function parseRange(text: string): Range | null {
  const [address = '', bits, ...rest] = text.split('/');
  const family = familyOf(address);
  // A zone names an interface of one machine; an IPv4 address written as IPv6 would never match.
  if (!family || rest.length > 0 || /%|^::ffff:/i.test(address)) return null;
  const bitsMax = family === 'ipv4' ? 32 : 128;
  if (bits === undefined) return { address, bits: bitsMax, family };
  return /^(0|[1-9]\d{0,2})$/.test(bits) && Number(bits) <= bitsMax
    ? { address, bits: Number(bits), family }
    : null;
}

function familyOf(address: string): Family | null {
  const version = isIP(address);
  return version === 0 ? null : version === 4 ? 'ipv4' : 'ipv6';
}

/** A DTO field, each of whose items is an address or a CIDR range. */
export function AreIpRanges(): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name: 'areIpRanges',
      target: target.constructor,
      propertyName: property as string,
      validator: {
        validate: (value: unknown) => Array.isArray(value) && value.every(isIpRange),
        defaultMessage: () => 'must hold addresses or CIDR ranges, such as 203.0.113.0/24 or 2001:db8::/48',
      },
    });
  };
}
