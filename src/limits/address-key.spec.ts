import { addressKey } from './address-key';

describe('T28: addressKey', () => {
  it('counts the 256 addresses of a /64 as one, and those of the next as another', () => {
    const keys = Array.from({ length: 256 }, (_, i) => addressKey(`2001:db8:1:2:${i.toString(16)}::1`));
    expect(new Set(keys)).toEqual(new Set(['2001:db8:1:2::/64']));
    expect(addressKey('2001:db8:1:3::1')).toBe('2001:db8:1:3::/64');
  });

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:0201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:443', '192.0.2.1'],
    ['2001:DB8:0001:0002:0:0:0:1', '2001:db8:1:2::/64'],
    ['[2001:db8:1:2::1]:443', '2001:db8:1:2::/64'],
    ['[2001:db8:1:2::1]', '2001:db8:1:2::/64'],
    ['fe80::1%eth0', 'fe80::/64'],
    ['fe80::2%eth1', 'fe80::/64'],
    ['::1', '::1'],
  ])('writes %s as %s', (address, key) => {
    expect(addressKey(address)).toBe(key);
  });

  it('tells any two IPv4 addresses apart, mapped or not', () => {
    const keys = Array.from({ length: 256 }, (_, i) => addressKey(`${i % 2 ? '::ffff:' : ''}192.0.2.${i}`));
    expect(new Set(keys).size).toBe(256);
  });

  it.each(['', 'unknown', 'somewhere', '1.2.3', '1.2.3.4.5', '::g', '[', '1.2.3.4:port', 'x'.repeat(5_000)])(
    'counts what is no address, as "%.20s", together',
    (text) => {
      expect(addressKey(text)).toBe('unknown');
    },
  );
});
